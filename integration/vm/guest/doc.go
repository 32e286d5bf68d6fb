// Package guest holds the tests that need a kernel with modules. They run as
// root in the test machine of hack/vm, where they install isulad-tools for good
// and load what they like; never on a real host. That is why their files are
// behind the tag vmguest: package vm builds them, boots the machine and runs
// them all in one boot.
//
// What differs from the sandbox of the other integration tests: modprobe, the
// kernel's module loader and the files in /etc/modprobe.d are real, the
// installed files and the hook spec are those of `make install`, and the
// machine's root, /dev and cgroups are its own.
package guest
