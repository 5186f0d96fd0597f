"""Conan 2's recipe of the C and C++ library: `conan create packaging/conan` makes it of the sources that it lies in."""

import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd, stdcpp_library
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load, rmdir

required_conan_version = ">=2.0"


class LeakyReLU(ConanFile):
    name = "leakyrelu"
    description = "LeakyReLU at the speed of memory, keeping one bit per element for the backward"
    license = "Apache-2.0"
    topics = ("activation", "deep-learning", "simd")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False], "fPIC": [True, False]}
    default_options = {"shared": False, "fPIC": True}
    implements = ["auto_shared_fpic"]

    def set_version(self):
        header = load(self, os.path.join(self.recipe_folder, "../../include/leakyrelu/leakyrelu.h"))
        self.version = ".".join(re.findall(r"^#define LEAKYRELU_VERSION_\w+ (\d+)$", header, re.MULTILINE))

    def export_sources(self):
        root = os.path.join(self.recipe_folder, "../..")
        for pattern in ("CMakeLists.txt", "LICENSE", "cmake/*", "include/*", "src/*"):
            copy(self, pattern, root, self.export_sources_folder)

    def requirements(self):
        self.requires("highway/[>=1.0.3 <2]")

    def validate(self):
        check_min_cppstd(self, 20)

    def layout(self):
        cmake_layout(self)

    def generate(self):
        CMakeToolchain(self).generate()
        deps = CMakeDeps(self)
        # By the names that Highway's own CMake package has.
        deps.set_property("highway", "cmake_file_name", "HWY")
        deps.set_property("highway::hwy", "cmake_target_name", "hwy::hwy")
        deps.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        CMake(self).install()
        for folder in ("cmake", "pkgconfig"):  # which Conan makes itself
            rmdir(self, os.path.join(self.package_folder, "lib", folder))

    def package_info(self):
        self.cpp_info.libs = ["leakyrelu"]
        self.cpp_info.requires = ["highway::hwy"]
        if self.options.shared:
            self.cpp_info.defines = ["LEAKYRELU_SHARED"]
        if self.settings.os in ("Linux", "FreeBSD"):
            self.cpp_info.system_libs = ["pthread", "dl", "m"]
        if not self.options.shared and (library := stdcpp_library(self)):  # for programs in C
            self.cpp_info.system_libs.append(library)
