"""Register the data sets that a configuration may name, and the suites of several.

A new data set is one new file in care/data/ and one entry here (docs/extending.md). All other
registered names are in :mod:`care.registry`, which has these, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from care.plugins import Entry, Registry

Kind = Literal["images", "points"]


@dataclass(frozen=True)
class DataEntry(Entry):
    """A data set.

    Attributes:
        loader: ``module:function`` from a :class:`care.config.DataConfig` and the data root to a
            :class:`care.data.dataset.Dataset`.
        about: Description for ``care data list``.
        preparer: ``module:function`` that downloads the set or builds its cache; None without
            either.
        train_size: Number of training samples, to check a batch before loading; None if only the
            files show it.
        test_size: Number of held-out samples, or None.
        side: Default height and width of the images in pixels; None for point clouds.
        resizable: The configuration may give another side.
        kind: ``images`` or ``points``.
        located: The configuration may give the path of the files.
        tree: The set is an image folder, with one folder per class.
        decoded: The loader decodes image files at the configured side (:mod:`care.data.decoding`);
            otherwise it gives arrays of the set's own side, which are resized as tensors.
        licence: Licence of the data, as far as known; empty for the user's own data.
        places: Files or folders below the data root; if one exists, the set is present.
        by_hand: The files cannot be downloaded from here; the preparer's error states how to get
            them.
        per_class: The field reports the mean of the classes' accuracies, not the share of all
            samples that are right.
        files: ``module:function`` that lists the set's files as
            :class:`care.data.fingerprints.sources.DataFiles`, without torch. None for a set without
            files: its samples are loaded and hashed instead.
    """

    loader: str
    about: str
    preparer: str | None = None
    train_size: int | None = None
    test_size: int | None = None
    side: int | None = None
    resizable: bool = True
    kind: Kind = "images"
    located: bool = False
    tree: bool = False
    decoded: bool = False
    licence: str = ""
    places: tuple[str, ...] = ()
    by_hand: bool = False
    per_class: bool = False
    files: str | None = None

    def __post_init__(self) -> None:
        if (self.side is None) != (self.kind == "points"):
            raise ValueError(f"{self.loader}: images have a side, point clouds have none")

    @property
    def needs_path(self) -> bool:
        """True if the configuration must give the path of the files."""
        return self.located and not self.places


DATA: Registry[DataEntry] = Registry(
    "data set",
    {
        "digits": DataEntry(
            "care.data.digits:load_digits",
            "handwritten digits that scikit-learn ships, tinted",
            files="care.data.fingerprints.sources:digits_files",
            train_size=1437,
            test_size=360,
            side=16,
            resizable=False,
            licence="CC BY 4.0 (UCI)",
        ),
        "cifar10": DataEntry(
            "care.data.cifar:load_cifar10",
            "CIFAR-10",
            files="care.data.fingerprints.sources:cifar10_files",
            preparer="care.data.cifar:prepare_cifar10",
            train_size=50_000,
            test_size=10_000,
            side=32,
            places=("cifar-10-batches-py",),
            licence="none stated",
        ),
        "cifar100": DataEntry(
            "care.data.cifar:load_cifar100",
            "CIFAR-100",
            files="care.data.fingerprints.sources:cifar100_files",
            preparer="care.data.cifar:prepare_cifar100",
            train_size=50_000,
            test_size=10_000,
            side=32,
            places=("cifar-100-python",),
            licence="none stated",
        ),
        "stl10": DataEntry(
            "care.data.stl10:load_stl10",
            "STL-10, trained on labelled and unlabelled images",
            files="care.data.fingerprints.sources:stl10_files",
            preparer="care.data.stl10:prepare_stl10",
            train_size=105_000,
            test_size=8_000,
            side=32,
            places=("stl10_binary",),
            licence="none stated; images of ImageNet",
        ),
        "flowers102": DataEntry(
            "care.data.flowers102:load_flowers102",
            "Flowers-102, trained on its train and val splits",
            files="care.data.fingerprints.photographs:photograph_files",
            preparer="care.data.flowers102:prepare_flowers102",
            train_size=2_040,
            test_size=6_149,
            side=64,
            places=("flowers-102",),
            decoded=True,
            per_class=True,
            licence="none stated; images from the web",
        ),
        "food101": DataEntry(
            "care.data.food101:load_food101",
            "Food-101",
            files="care.data.fingerprints.photographs:photograph_files",
            preparer="care.data.food101:prepare_food101",
            train_size=75_750,
            test_size=25_250,
            side=64,
            places=("food-101",),
            decoded=True,
            licence="none stated; photographs of foodspotting",
        ),
        "mit67": DataEntry(
            "care.data.mit67:load_mit67",
            "MIT indoor scenes, 67 classes",
            files="care.data.fingerprints.photographs:photograph_files",
            preparer="care.data.mit67:prepare_mit67",
            train_size=5_360,
            test_size=1_340,
            side=64,
            places=("mit67",),
            decoded=True,
            by_hand=True,
            licence="none stated; images from the web",
        ),
        "pets": DataEntry(
            "care.data.pets:load_pets",
            "Oxford-IIIT pets, 37 breeds",
            files="care.data.fingerprints.photographs:photograph_files",
            preparer="care.data.pets:prepare_pets",
            train_size=3_680,
            test_size=3_669,
            side=64,
            places=("oxford-iiit-pet",),
            decoded=True,
            per_class=True,
            licence="CC BY-SA 4.0",
        ),
        "caltech101": DataEntry(
            "care.data.caltech101:load_caltech101",
            "Caltech-101, trained on 30 images of each class",
            files="care.data.fingerprints.photographs:photograph_files",
            preparer="care.data.caltech101:prepare_caltech101",
            train_size=3_030,
            test_size=5_647,
            side=64,
            places=("caltech101",),
            decoded=True,
            per_class=True,
            licence="CC BY 4.0",
        ),
        "cars": DataEntry(
            "care.data.cars:load_cars",
            "Stanford cars, 196 models",
            files="care.data.fingerprints.photographs:photograph_files",
            preparer="care.data.cars:prepare_cars",
            train_size=8_144,
            test_size=8_041,
            side=64,
            places=("stanford_cars",),
            decoded=True,
            by_hand=True,
            licence="none stated; non-commercial research",
        ),
        "aircraft": DataEntry(
            "care.data.aircraft:load_aircraft",
            "FGVC aircraft, 100 variants; its train and val splits",
            files="care.data.fingerprints.photographs:photograph_files",
            preparer="care.data.aircraft:prepare_aircraft",
            train_size=6_667,
            test_size=3_333,
            side=64,
            places=("fgvc-aircraft-2013b",),
            decoded=True,
            per_class=True,
            licence="non-commercial research",
        ),
        "dtd": DataEntry(
            "care.data.dtd:load_dtd",
            "describable textures, 47 classes; its train and val splits",
            files="care.data.fingerprints.photographs:photograph_files",
            preparer="care.data.dtd:prepare_dtd",
            train_size=3_760,
            test_size=1_880,
            side=64,
            places=("dtd",),
            decoded=True,
            licence="research only",
        ),
        "sun397": DataEntry(
            "care.data.sun397:load_sun397",
            "SUN397 scenes, the first of its ten splits",
            files="care.data.fingerprints.photographs:photograph_files",
            preparer="care.data.sun397:prepare_sun397",
            train_size=19_850,
            test_size=19_850,
            side=64,
            places=("SUN397",),
            decoded=True,
            licence="none stated; images from the web",
        ),
        "imagenet100": DataEntry(
            "care.data.image_folder:load_imagenet100",
            "100 classes of an ImageNet tree",
            files="care.data.fingerprints.sources:imagenet100_files",
            preparer="care.data.image_folder:prepare_imagenet100",
            side=224,
            located=True,
            tree=True,
            places=("imagenet",),
            decoded=True,
            licence="ImageNet's terms: research, by request",
        ),
        "images": DataEntry(
            "care.data.image_folder:load_images",
            "any tree of class folders",
            files="care.data.fingerprints.sources:tree_files",
            preparer="care.data.image_folder:prepare_images",
            side=64,
            located=True,
            tree=True,
            decoded=True,
        ),
        "proteins": DataEntry(
            "care.data.proteins:load_proteins",
            "proteins as point clouds, from PDB, mmCIF or .npz files",
            files="care.data.fingerprints.sources:proteins_files",
            preparer="care.data.proteins:prepare_proteins",
            kind="points",
            located=True,
            places=("proteins", "proteins.npz"),
        ),
    },
)

SUITES: Mapping[str, tuple[str, ...]] = {
    "suite11": (
        "cifar10",
        "cifar100",
        "food101",
        "mit67",
        "pets",
        "flowers102",
        "caltech101",
        "cars",
        "aircraft",
        "dtd",
        "sun397",
    )
}
"""Data sets to which papers transfer together, by the name that ``evaluation.transfer`` takes.

``suite11``: Lee et al., Improving Transferability of Representations via Augmentation-Aware
Self-Supervision (NeurIPS 2021), Table 1.
"""
