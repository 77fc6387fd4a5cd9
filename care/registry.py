"""Names that a configuration may use, and where the code behind each one lives.

A registry holds import paths, not objects, so that a configuration can be checked without importing
torch, and a new data set, encoder or objective is one new file and one line here.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class DataSource:
    """A data set a configuration may name.

    Attributes:
        loader: ``module:function`` that reads it from a configuration and the data's root folder,
            as a :class:`care.data.dataset.Dataset`.
        about: What it is, in a few words.
        preparer: ``module:function`` that downloads it or builds its cache; None where there is
            nothing to do.
        train_size: Number of training samples, so that a batch can be checked before loading; None
            where only the files tell.
        test_size: Likewise, of held-out samples.
        side: Height and width of its images in pixels, unless the configuration says another.
        resizable: Whether it may.
        kind: ``images`` or ``points``.
        located: Whether the configuration may say where it lies.
        tree: Whether it is a tree of class folders.
        places: Files and folders of which one is there where the set is, under the data folder.
        files: ``module:function`` that lists the files that it is made of, as
            :class:`care.data.fingerprints.sources.DataFiles`, without torch; None for samples that
            no file holds, which are loaded and hashed instead.
    """

    loader: str
    about: str
    preparer: str | None = None
    train_size: int | None = None
    test_size: int | None = None
    side: int | None = None
    resizable: bool = True
    kind: Literal["images", "points"] = "images"
    located: bool = False
    tree: bool = False
    places: tuple[str, ...] = ()
    files: str | None = None


TREE = "images"
"""The data set that is any tree of class folders."""

DATA: dict[str, DataSource] = {
    "digits": DataSource(
        "care.data.digits:load_digits",
        "handwritten digits that scikit-learn ships, tinted",
        files="care.data.fingerprints.sources:digits_files",
        train_size=1437,
        test_size=360,
        side=16,
        resizable=False,
    ),
    "cifar10": DataSource(
        "care.data.cifar:load_cifar10",
        "CIFAR-10",
        files="care.data.fingerprints.sources:cifar10_files",
        preparer="care.data.cifar:prepare_cifar10",
        train_size=50_000,
        test_size=10_000,
        side=32,
        places=("cifar-10-batches-py",),
    ),
    "cifar100": DataSource(
        "care.data.cifar:load_cifar100",
        "CIFAR-100",
        files="care.data.fingerprints.sources:cifar100_files",
        preparer="care.data.cifar:prepare_cifar100",
        train_size=50_000,
        test_size=10_000,
        side=32,
        places=("cifar-100-python",),
    ),
    "stl10": DataSource(
        "care.data.stl10:load_stl10",
        "STL-10, trained on labelled and unlabelled images",
        files="care.data.fingerprints.sources:stl10_files",
        preparer="care.data.stl10:prepare_stl10",
        train_size=105_000,
        test_size=8_000,
        side=32,
        places=("stl10_binary",),
    ),
    "flowers102": DataSource(
        "care.data.flowers102:load_flowers102",
        "Flowers-102, trained on its train and val splits",
        files="care.data.fingerprints.sources:flowers102_files",
        preparer="care.data.flowers102:prepare_flowers102",
        train_size=2_040,
        test_size=6_149,
        side=64,
        places=("flowers-102",),
    ),
    "imagenet100": DataSource(
        "care.data.image_folder:load_imagenet100",
        "100 classes of an ImageNet tree",
        files="care.data.fingerprints.sources:imagenet100_files",
        preparer="care.data.image_folder:prepare_imagenet100",
        side=224,
        located=True,
        tree=True,
        places=("imagenet",),
    ),
    TREE: DataSource(
        "care.data.image_folder:load_images",
        "any tree of class folders",
        files="care.data.fingerprints.sources:tree_files",
        preparer="care.data.image_folder:prepare_images",
        side=64,
        located=True,
        tree=True,
    ),
    "proteins": DataSource(
        "care.data.proteins:load_proteins",
        "proteins as point clouds, from PDB, mmCIF or .npz files",
        files="care.data.fingerprints.sources:proteins_files",
        preparer="care.data.proteins:prepare_proteins",
        kind="points",
        located=True,
        places=("proteins", "proteins.npz"),
    ),
}

ENCODERS: dict[str, str] = {
    "small": "care.models.small:small_encoder",
    "resnet18": "care.models.resnet:resnet18_encoder",
    "resnet50": "care.models.resnet:resnet50_encoder",
    "resnet50_imagenet": "care.models.resnet:resnet50_imagenet_encoder",
}
"""Encoders of images."""

POINT_ENCODERS: dict[str, str] = {
    "deep_sets": "care.models.deep_sets:deep_sets_encoder",
}
"""Encoders of point clouds."""

ENCODER_FLOPS: dict[str, tuple[int, float]] = {
    "small": (16, 1.70e6),
    "resnet18": (32, 1.11e9),
    "resnet50": (32, 2.60e9),
    "resnet50_imagenet": (224, 8.17e9),
    "deep_sets": (100, 3.45e6),
}
"""(side or points, floating-point operations of one forward pass of one sample of that size)."""

OBJECTIVES: dict[str, str] = {
    "simclr": "care.objectives.simclr:SimCLR",
    "moco_v2": "care.objectives.moco:MoCo",
    "barlow_twins": "care.objectives.barlow_twins:BarlowTwins",
    "byol": "care.objectives.byol:BYOL",
    "alignment": "care.objectives.ablations:AlignmentOnly",
    "uniformity": "care.objectives.ablations:UniformityOnly",
    "none": "care.objectives.ablations:NoBase",
}


def load(path: str) -> Any:
    """The object at ``module:attribute``."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
