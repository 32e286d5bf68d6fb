//go:build vmguest

package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Package units has fifty rounds of the helper alone.
func TestSystemdHotplugRounds(t *testing.T) {
	for _, c := range []struct {
		name   string
		mapped bool
		rounds int
	}{
		{"plain", false, 10},
		{"user namespace", true, 3}, // each has two processes of systemd's, too
	} {
		t.Run(c.name, func(t *testing.T) { goRounds(t, c.mapped, c.rounds) })
	}
}

// goRounds has a partition come and go, and says how long the container waited.
func goRounds(t *testing.T, mapped bool, rounds int) {
	disk := scsi(t)
	c := newPlugged(t, mapped, map[string]string{"/dev/" + disk: "/dev/disk"})
	t.Cleanup(func() {
		if t.Failed() {
			helperLog(t)
		}
	})
	c.start()
	heard := listen(t)
	part := partition(disk, 1)
	where := inside(disk, "/dev/disk", 1)
	before := fmt.Sprint(c.dev(t), c.recorded(t))
	var came, went []time.Duration
	for range rounds {
		heard.forget()
		cut(t, disk, 1, true)
		usable := c.gets(t, where, "/dev/"+part)
		came = append(came, time.Duration(usable-heard.at(t, "add "+part)))
		heard.forget()
		cut(t, disk, 1, false)
		gone := c.loses(t, where)
		went = append(went, time.Duration(gone-heard.at(t, "remove "+part)))
	}
	settle(t)
	within(t, patience, "all is as before", func() bool { return fmt.Sprint(c.dev(t), c.recorded(t)) == before })
	slices.Sort(came)
	slices.Sort(went)
	t.Logf("from the kernel's event to the usable node: median %v, worst %v; until it is gone: median %v, worst %v",
		came[rounds/2], came[rounds-1], went[rounds/2], went[rounds-1])
}

// mark writes to the beginning of a disk what tells it from others.
func mark(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_SYNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

func TestSystemdHotplugDiskIsPulledAndPutBack(t *testing.T) {
	// The disk of a back end is plugged in by a serial number, which is what udev
	// calls it by.
	in := func(backend string) string {
		return newDisk(t, func() { plug(t, "virtio-blk-pci", backend, map[string]any{"drive": backend, "serial": backend}) })
	}
	out := func(backend string) { unplug(t, backend) }
	byID := func(backend string) string { return "/dev/disk/by-id/virtio-" + backend }
	ours := in("hot0")
	settle(t)
	mark(t, byID("hot0"), "ours")
	run(t, "label: dos\n,4M\n", "sfdisk", "-q", byID("hot0"))
	settle(t)
	containers := twoContainers(t, map[string]string{byID("hot0"): "/dev/disk"})
	// What was there before the container was is the operator's to add.
	part := func() string { return inside(ours, "/dev/disk", 1) }

	out("hot0")
	settle(t)
	other := in("hot1")
	settle(t)
	if other != ours {
		t.Fatalf("the other disk is %s, want the name %s", other, ours)
	}
	mark(t, byID("hot1"), "theirs")
	for _, c := range containers {
		if a, err := c.asks(question{Path: "/dev/disk"}); err == nil {
			t.Errorf("the container reads %q of another disk, with the numbers of its own", a.Data)
		}
	}
	ours = in("hot0")
	settle(t)
	for _, c := range containers {
		c.gets(t, "/dev/disk", byID("hot0"))
		a, err := c.asks(question{Path: "/dev/disk"})
		if err != nil || string(a.Data[:4]) != "ours" {
			t.Errorf("the container reads %q, %v of its disk", a.Data, err)
		}
		c.gets(t, part(), byID("hot0")+"-part1")
		st := stat(t, byID("hot0"))
		if d := c.recorded(t)["/dev/disk"]; d.Major != int64(unix.Major(st.Rdev)) || d.Minor != int64(unix.Minor(st.Rdev)) {
			t.Errorf("recorded: %+v", d)
		}
	}
	// And at the next start.
	for _, c := range containers {
		c.stop()
	}
	out("hot0")
	out("hot1")
	ours = in("hot0")
	settle(t)
	for _, c := range containers {
		c.start()
		c.gets(t, "/dev/disk", byID("hot0"))
		c.gets(t, part(), byID("hot0")+"-part1")
	}
	for _, c := range containers {
		c.stop()
	}
	out("hot0")
}

func TestSystemdHotplugNamesAreNotMixedUp(t *testing.T) {
	loop1, loop10 := loopAt(t, "/dev/loop1"), loopAt(t, "/dev/loop10")
	// What udevd finds out about the disks between takes it a minute here.
	const brief = "/run/udev/rules.d/10-brief.rules"
	if err := errors.Join(os.MkdirAll(filepath.Dir(brief), 0o755), os.WriteFile(brief,
		[]byte(`KERNEL=="sd[b-z]", ENV{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}="1"`+"\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	run(t, "", "udevadm", "control", "--reload")
	t.Cleanup(func() {
		os.Remove(brief)
		run(t, "", "udevadm", "control", "--reload")
	})
	load(t, "sd_mod")
	scsiDebug(t, "dev_size_mb=8", "max_luns=27")
	within(t, 3*patience, "27 disks", func() bool { return isBlock("/dev/sda") && isBlock("/dev/sdaa") })
	settle(t)
	containers := twoContainers(t, map[string]string{"/dev/sda": "/dev/disk", "/dev/" + loop1: "/dev/loop"})
	var before []string
	for _, c := range containers {
		before = append(before, fmt.Sprint(c.dev(t), c.recorded(t)))
	}
	for _, disk := range []string{"sdaa", loop10} {
		cut(t, disk, 1, true)
		settle(t)
		for i, c := range containers {
			if after := fmt.Sprint(c.dev(t), c.recorded(t)); after != before[i] {
				t.Errorf("a partition of %s is the container's:\nbefore %s\nafter %s", disk, before[i], after)
			}
		}
	}
	for disk, path := range map[string]string{"sda": "/dev/disk", loop1: "/dev/loop"} {
		cut(t, disk, 1, true)
		for _, c := range containers {
			c.gets(t, inside(disk, path, 1), "/dev/"+partition(disk, 1))
		}
	}
	for _, disk := range []string{"sdaa", loop10} {
		cut(t, disk, 1, false)
		settle(t)
	}
	for disk, path := range map[string]string{"sda": "/dev/disk", loop1: "/dev/loop"} {
		for _, c := range containers {
			c.gets(t, inside(disk, path, 1), "/dev/"+partition(disk, 1))
		}
		cut(t, disk, 1, false)
		for _, c := range containers {
			c.loses(t, inside(disk, path, 1))
		}
	}
}

func TestSystemdHotplugStormWhileTheContainerRestarts(t *testing.T) {
	disk := scsi(t)
	var all []*container
	for range 2 {
		c := newPlugged(t, false, map[string]string{"/dev/" + disk: "/dev/disk"})
		c.start()
		all = append(all, c)
	}
	restarted := all[0]
	t.Cleanup(func() {
		if t.Failed() {
			helperLog(t)
		}
	})
	heard := listen(t)
	part, where := "/dev/"+partition(disk, 1), inside(disk, "/dev/disk", 1)

	storm := make(chan error, 1)
	var over atomic.Bool
	go func() {
		defer over.Store(true)
		var err error
		for i := 0; i < 200 && err == nil; i++ {
			err = tryCut(disk, 1, i%2 == 0)
		}
		storm <- err
	}()
	restarts := 0
	for ; !over.Load() || restarts < 4; restarts++ {
		restarted.stop()
		if err := restarted.runc.Run(restarted.id, restarted.dir); err != nil {
			t.Errorf("start %d: %v", restarts, err)
			_ = restarted.runc.Run(restarted.id, restarted.dir)
		}
	}
	if err := <-storm; err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	settle(t)
	t.Logf("%d events, %d restarts; udevd was done %v later", heard.number(), restarts, time.Since(start))
	if heard.number() < 200 {
		t.Errorf("%d events only", heard.number())
	}
	for _, c := range all {
		c.loses(t, where)
	}
	cut(t, disk, 1, true)
	for _, c := range all {
		c.gets(t, where, part)
	}
	cut(t, disk, 1, false)
	for _, c := range all {
		c.loses(t, where)
		within(t, patience, "the disk alone is recorded", func() bool { return len(c.recorded(t)) == 1 })
	}
	// Nobody is left waiting for a lock.
	processes, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, comm := range processes {
		if name, err := os.ReadFile(comm); err == nil && string(name) == "isulad-tools_wr\n" {
			t.Errorf("a helper is left: %s", filepath.Dir(comm))
		}
	}
}
