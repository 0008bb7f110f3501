"""The namespace for users of fsspec: ``pandas.read_csv("sigma://name/ux/~local/data.csv")``.

fsspec finds the class by the protocol ``sigma``; importing ``sigmaos_ray`` alone does not import fsspec.
"""

from sigmaos_ray import extras

extras.need("fsspec", for_="sigmaos_ray.fsspec")

from sigmaos_ray.fsspec.filesystem import SigmaFileSystem

__all__ = ["SigmaFileSystem"]
