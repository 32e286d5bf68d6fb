// Package vm runs the tests that need another kernel than this machine's, on a
// stock Debian one: it builds them and isulad-tools, boots the machine of hack/vm
// and hands on what the guest says.
package vm

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// How the tests of package guest begin that not every boot runs: where systemd is
// PID 1, and in a second boot.
const (
	systemdBoot = "TestSystemd"
	secondBoot  = "TestSecondBoot"
)

// guests are the files of package guest.
const guests = "guest/*_test.go"

// blacklisted is on the guest's kernel command line; package guest expects it.
const blacklisted = "module_blacklist=nlmon"

// machines are the boots, by what they have that this machine has not, those that take
// longest first: so both cores have work to the end.
var machines = []struct {
	name string
	test func(*testing.T)
}{
	{"systemd", systemdIsPID1},
	{"cgroup v1", cgroupV1},
	{"cgroup v2", scenarioCgroupV2},
	{"Open vSwitch", openVSwitch},
	{"SELinux", seLinux},
}

// TestMachines runs two machines at a time, one on each core.
func TestMachines(t *testing.T) {
	prepare(t)
	next := make(chan int, len(machines))
	for i := range machines {
		next <- i
	}
	close(next)
	var cores sync.WaitGroup
	for range 2 {
		cores.Go(func() {
			for i := range next {
				t.Run(machines[i].name, machines[i].test)
			}
		})
	}
	cores.Wait()
}

// hot are the disks that the guest plugs into itself, and how often it does.
var hot = []string{
	"--hot", "64M", "--hot", "64M", "--hot", "64M", "--hot", "64M", "--hot", "64M", "--hot", "64M", "--hot", "64M",
	"--env", "FOLLOW_ROUNDS=" + os.Getenv("FOLLOW_ROUNDS"),
}

// hotTime is how long it may be busy with that, beside other tests.
func hotTime() time.Duration {
	rounds, _ := strconv.Atoi(cmp.Or(os.Getenv("FOLLOW_ROUNDS"), "2"))
	return time.Duration(rounds) * 300 * time.Second
}

// systemdIsPID1 runs them with cgroup v2 alone, as on today's hosts.
func systemdIsPID1(t *testing.T) {
	m := machine{
		name: "systemd", limit: 1500*time.Second + hotTime(), sources: guests, script: tests("guest"),
		options: append([]string{
			"--systemd", "--cgroup", "v2",
			// As a unit of their own, as daemons run.
			"--env", "AS=systemd-run --quiet --wait --pipe --collect --same-dir --setenv=ISULAD_VM --setenv=GUEST_BOOT --setenv=HOME --setenv=FOLLOW_ROUNDS",
		}, hot...),
		wanted: func(test string) bool { return strings.HasPrefix(test, systemdBoot) },
	}
	m.boot(t, share(t, "vm/guest"))
}

// cgroupV1 boots twice: the second time with a disk as new, and in the shared
// folder what the first left there.
func cgroupV1(t *testing.T) {
	dir := share(t, "vm/guest")
	first := machine{
		name: "1", limit: 900*time.Second + hotTime(), sources: guests, script: tests("guest"),
		options: append([]string{"--cgroup", "v1", "--append", blacklisted}, hot...),
		wanted: func(test string) bool {
			return !strings.HasPrefix(test, secondBoot) && !strings.HasPrefix(test, systemdBoot)
		},
	}
	second := first
	second.name = "2"
	second.wanted = func(test string) bool { return strings.HasPrefix(test, secondBoot) }
	first.boot(t, dir)
	compress(t, filepath.Join(dir, "modules"))
	if only == "" || strings.Contains(only, secondBoot) {
		second.boot(t, dir)
	}
}

// openVSwitch has the kernel for Open vSwitch's datapath, as on a host.
func openVSwitch(t *testing.T) {
	m := machine{
		name: "Open vSwitch", limit: 1200 * time.Second, sources: "guest/ovs/ovs_test.go", script: tests("ovs"),
		options: []string{"--cgroup", "v1"},
	}
	m.boot(t, share(t, "vm/guest/ovs"))
}

// seLinux has a kernel that was started with SELinux; the tests load a policy,
// and enforce it.
func seLinux(t *testing.T) {
	m := machine{
		name: "SELinux", limit: 900 * time.Second, sources: "guest/selinux/*_test.go", script: tests("selinux"),
		options: []string{"--cgroup", "v1", "--append", "selinux=1 security=selinux"},
	}
	m.boot(t, share(t, "vm/guest/selinux"))
}

// compress makes the second boot's modules: Debian 12's are plain, and those of
// other distributions are not.
func compress(t *testing.T, dir string) {
	t.Helper()
	for name, args := range map[string][]string{
		"ip_vs": {"xz", "--check=crc32", "-1", "-k"}, "ip_vs_wrr": {"zstd", "-q"}, "ifb": {"zstd", "-q"},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], append(args[1:], filepath.Join(dir, name+".ko"))...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
}
