package hooks

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
)

// Containers that start with the host start before udev, LVM and multipath have made
// their devices. These are how long a start waits for recorded ones, and until when.
const (
	bootWait = 10 * time.Second
	bootTime = 5 * time.Minute // since the kernel was started
	bootPoll = 100 * time.Millisecond
)

// afterBoot waits for recorded devices that the host does not have yet, if it was started
// lately. Meanwhile others have the container's lock. It returns what is recorded then.
func (h *Hook) afterBoot(ctx context.Context, bundle string, lock *config.Lock, rec recorded) (*config.Lock, recorded, error) {
	if h.bootWait <= 0 || uptime() >= h.bootTime || !anyMissing(rec.devices.Records) {
		return lock, rec, nil
	}
	lock.Unlock()
	end := time.Now().Add(h.bootWait)
	for anyMissing(rec.devices.Records) && ctx.Err() == nil && time.Now().Before(end) {
		time.Sleep(bootPoll)
	}
	lock, err := config.LockContainer(ctx, bundle, hookLockWait)
	if err != nil {
		return nil, rec, err
	}
	if rec, err = h.load(bundle); err != nil {
		lock.Unlock()
		return nil, rec, err
	}
	return lock, rec, nil
}

// anyMissing tells whether the host lacks a device that a start cannot do without.
func anyMissing(list []devices.Device) bool {
	return slices.ContainsFunc(list, func(d devices.Device) bool {
		_, err := os.Stat(d.PathOnHost)
		return !d.Optional && errors.Is(err, fs.ErrNotExist)
	})
}

// uptime is how long the host has been up; for ever when the kernel does not say.
func uptime() time.Duration {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 1<<63 - 1
	}
	return time.Duration(info.Uptime) * time.Second
}
