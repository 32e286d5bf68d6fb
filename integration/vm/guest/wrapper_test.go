//go:build vmguest

package guest

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// oldWrapper is what v0.9 did for one event, by hand: a shell starts the tool,
// which asks isula five times and lsblk twice and starts itself again in the
// container's namespaces. isula's answers, some 30 ms each on a real host, take
// no time here.
const oldWrapper = `set -e
isulad-tools --version >/dev/null
for question in info Id State.Pid HostConfig.CgroupParent HostConfig.Runtime; do /bin/true "$question"; done
lsblk -n -d -o TYPE "/dev/$1" >/dev/null
lsblk -n -s -o NAME "/dev/$1" >/dev/null
isulad-tools --version >/dev/null
nsenter -t "$3" -m mknod -m 660 "$2" b "$4" "$5"`

// From the kernel's event on, udevd's own work counted, a node of ours is there
// sooner than the old wrapper's steps alone take.
func TestSystemdHotplugTakesLessThanTheOldWrappersSteps(t *testing.T) {
	const rounds = 10
	disk := scsi(t)
	c := newPlugged(t, false, map[string]string{"/dev/" + disk: "/dev/disk"})
	c.start()
	state, err := c.runc.State(c.id)
	if err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(state.Pid)
	heard := listen(t)
	part := partition(disk, 1)
	where := inside(disk, "/dev/disk", 1)
	var ours, theirs []time.Duration
	for range rounds {
		cut(t, disk, 1, true)
		usable := c.gets(t, where, "/dev/"+part)
		ours = append(ours, time.Duration(usable-heard.at(t, "add "+part)))
		settle(t)
		st := stat(t, "/dev/"+part)
		start := time.Now()
		run(t, "", "sh", "-c", oldWrapper, "wrapper", part, "/dev/by-hand", pid, fmt.Sprint(unix.Major(st.Rdev)), fmt.Sprint(unix.Minor(st.Rdev)))
		theirs = append(theirs, time.Since(start))
		run(t, "", "nsenter", "-t", pid, "-m", "rm", "/dev/by-hand")
		cut(t, disk, 1, false)
		c.loses(t, where)
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	t.Logf("event to usable node: median %v, worst %v; the old wrapper's steps alone: median %v, worst %v",
		ours[rounds/2], ours[rounds-1], theirs[rounds/2], theirs[rounds-1])
	if ours[rounds/2] >= theirs[rounds/2] {
		t.Errorf("it takes %v, and what it replaces %v", ours[rounds/2], theirs[rounds/2])
	}
}
