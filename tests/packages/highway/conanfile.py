"""In place of ConanCenter's recipe of Highway, where that cannot be reached: the system's library."""

from conan import ConanFile


class Highway(ConanFile):
    name = "highway"
    version = "1.2.0"

    def package_info(self):
        self.cpp_info.components["hwy"].system_libs = ["hwy"]
        self.cpp_info.components["hwy"].includedirs = []
