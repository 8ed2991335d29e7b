"""The files of one request: in the agent's work folder, named relative to it, told with their sha256 in both directions."""

import os

from .arrays import read_array
from .integrity import is_inside, sha256_of
from .problem import Problem


class Files:
    """A work folder. A file of it is described as {"path", "sha256"}; what is kept for the host also with its "bytes"."""

    def __init__(self, workdir):
        self.workdir = workdir

    def path(self, name):
        """Where the file ``name`` lies, or is to be written. Raises Problem "integrity" where that leads out of the folder."""
        if not is_inside(name):
            raise Problem("integrity", "a file of the request lies outside the work folder", where=str(name))
        return os.path.join(self.workdir, name)

    def checked(self, described):
        """The path of a file of the request, after its bytes were compared with the sha256 the host sent."""
        path = self.path(described["path"])
        try:
            digest = sha256_of(path)
        except OSError as error:
            raise Problem("integrity", "a file did not arrive: %s" % error.strerror, where=described["path"])
        if digest != described["sha256"]:
            fix = "send it again; if that repeats, check the device's disk and cable"
            raise Problem("integrity", "a file arrived with other bytes", described["path"], digest, fix)
        return path

    def array(self, described):
        """The numpy array of a .npy file of the request."""
        return read_array(self.checked(described))

    def kept(self, path):
        """What the host needs to fetch a file that was written to the work folder. None where there is no such file."""
        if not os.path.isfile(path):
            return None
        name = os.path.relpath(path, self.workdir).replace(os.sep, "/")
        return {"path": name, "sha256": sha256_of(path), "bytes": os.path.getsize(path)}
