"""MIT indoor scenes, 67 classes: 5,360 training and 1,340 test images; torchvision has no class."""

from __future__ import annotations

from pathlib import Path

from care.data.fingerprints.image_folder import Files
from care.data.listed_images import ListedImages, Listing

_FOLDER = "mit67"
_ADVICE = (
    "it has no published checksums, so fetch it by hand: "
    "http://groups.csail.mit.edu/vision/LabelMe/NewImages/indoorCVPR_09.tar (2.4 GB), whose "
    "Images/ belongs in this folder, and beside it TrainImages.txt and TestImages.txt of "
    "http://web.mit.edu/torralba/www/indoor.html"
)


def _list_files(root: Path) -> Listing:
    folder = root / _FOLDER
    train, test = ((folder / f"{part}Images.txt").read_text("utf-8") for part in ("Train", "Test"))
    listed = [
        [line.strip() for line in part.splitlines() if line.strip()] for part in (train, test)
    ]
    classes = sorted({name.partition("/")[0] for name in listed[0]})
    unknown = sorted({name.partition("/")[0] for name in listed[1]} - set(classes))
    if unknown:
        raise ValueError(f"TestImages.txt has classes that TrainImages.txt lacks: {unknown[0]}")
    files = [
        Files(
            folder,
            [f"Images/{name}" for name in names],
            [classes.index(name.partition("/")[0]) for name in names],
        )
        for names in listed
    ]
    return Listing(tuple(classes), files[0], files[1])


_MIT = ListedImages("mit67", _FOLDER, _list_files, advice=_ADVICE)
load_mit67, prepare_mit67 = _MIT.load, _MIT.prepare
