"""The published procedure by hand, as a script of its own: `python by_hand.py DATA OUT X,Y,A,B,PA [--no-pictures]`.

DATA is a folder of plain FLTs, RAW darks and association tables. As in STScI's notebook "SBC Dark Analysis", done for
every association: the dark nearest in raw box sum is put into a copy of each FLT, with its own exposure time;
AstroDrizzle makes the science product and the product of the copies, with the notebook's settings; photutils measures
an ellipse on both; three figures are drawn (an exposure and its dark, the products, the products with the ellipse).
There are no errors, no model and no records.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits
from drizzlepac.astrodrizzle import AstroDrizzle
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle
from photutils.aperture import EllipticalAperture, aperture_photometry

SETTINGS = {
    "runfile": "", "context": False, "build": False, "preserve": False, "clean": True, "static": False,
    "skysub": False, "driz_separate": False, "median": False, "blot": False, "driz_cr": False, "driz_combine": True,
    "final_wcs": True, "final_scale": 0.025,
}  # fmt: skip


def box_sum(path: Path) -> float:
    """Return the raw sum of the box that the procedure compares."""
    return float(fits.getdata(path, 1)[650:850, 580:780].sum())


def nearest(own: float, darks: dict[Path, float]) -> Path:
    """Return the dark whose box sum is nearest."""
    return min(darks, key=lambda path: abs(darks[path] - own))


def with_dark(flt: Path, dark: Path) -> str:
    """Write a copy of an FLT that carries the counts and the exposure time of a dark, and return its name."""
    copy = f"{flt.name[:9]}dark_flt.fits"
    shutil.copyfile(flt, copy)
    counts, exptime = fits.getdata(dark, 1), fits.getval(dark, "EXPTIME", 0)
    with fits.open(copy, mode="update") as hdus:
        hdus[1].data[:, :] = counts
        hdus[0].header["EXPTIME"] = exptime
    return copy


def figure(images: list[Any], name: str, *, box: bool = False, ellipse: EllipticalAperture | None = None) -> None:
    """Draw two images side by side, as the notebook does."""
    drawn, axes = plt.subplots(1, 2, figsize=(16, 12))
    stretch = LogNorm() if box else LogNorm(1e-5, 0.01)
    for place, image, title in zip(axes, images, ("Science", "Dark"), strict=True):
        place.set_title(title)
        place.imshow(image, norm=stretch, interpolation="nearest", cmap="plasma", origin="lower")
        if box:
            place.add_patch(Rectangle((580, 650), width=200, height=200, alpha=0.5))
        if ellipse is not None:
            ellipse.plot(ax=place)
    drawn.savefig(name)
    plt.close(drawn)


def main() -> None:
    """Do the whole procedure in the folder OUT."""
    data, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    x, y, a, b, angle = map(float, sys.argv[3].split(","))
    pictures = "--no-pictures" not in sys.argv
    ellipse = EllipticalAperture((x, y), a, b, theta=np.radians(angle))
    out.mkdir()
    os.chdir(out)
    darks = {path: box_sum(path) for path in sorted(data.glob("*_raw.fits"))}
    rows = []
    for table in sorted(data.glob("*_asn.fits")):
        name = table.name[:9]
        with fits.open(table) as hdus:
            members = [row["MEMNAME"].strip().lower() for row in hdus[1].data if row["MEMTYPE"].startswith("EXP")]
        science, copies = [], []
        for flt in (data / f"{member}_flt.fits" for member in members):
            dark = nearest(box_sum(flt), darks)
            science.append(str(shutil.copyfile(flt, flt.name)))
            copies.append(with_dark(flt, dark))
        products = []
        for frames, kind in ((science, "science"), (copies, "dark")):
            AstroDrizzle(frames, output=f"{name}_{kind}", **SETTINGS)
            products.append(fits.getdata(f"{name}_{kind}_drz_sci.fits"))
        sums = [float(aperture_photometry(image, ellipse)["aperture_sum"][0]) for image in products]
        rows.append((name, *sums, sums[0] - sums[1]))
        if pictures:
            figure([fits.getdata(science[0], 1), fits.getdata(dark, 1)], f"{name}_frames.png", box=True)
            figure(products, f"{name}_products.png")
            figure(products, f"{name}_ellipse.png", ellipse=ellipse)
    with Path("photometry.csv").open("w", newline="") as target:
        csv.writer(target).writerows([("association", "science", "dark", "net"), *rows])


if __name__ == "__main__":
    main()
