// Package ovs holds the tests with Open vSwitch, Debian's, and the kernel's
// datapath. They run as root in the test machine of hack/vm, as those of package
// guest do, in a boot of their own; never on a real host.
package ovs
