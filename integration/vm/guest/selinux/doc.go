// Package selinux holds the tests that need a kernel with SELinux. They run as
// root in the test machine of hack/vm, as those of package guest do, in a boot
// of their own; never on a real host.
package selinux
