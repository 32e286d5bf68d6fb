package devices

import (
	"errors"
	"io/fs"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/resource"
)

// errorIsGone tells whether err, of a look at a device, says that the host does not have it,
// or has something else in its place.
func errorIsGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoDevice)
}

// IsGone tells whether the host does not have the device, so that its number may be
// another's.
func (d Device) IsGone() bool {
	_, gone := d.Current()
	return gone
}

// Current is what the device is now: as it is recorded, where nobody knows. gone: it is
// not there, and its number may be another's.
func (d Device) Current() (now Device, gone bool) {
	now, _, err := resolve(d)
	switch {
	case err == nil:
		return now, false
	case errorIsGone(err):
		return d, !d.hasFixedNumber()
	}
	return d, false
}

// withCurrentNumbers leaves out the devices that the host does not have now, or not by
// these numbers: those may be another's by now.
func withCurrentNumbers(list []Device) (current []Device) {
	for _, d := range list {
		if now, gone := d.Current(); !gone && d.Same(now) {
			current = append(current, d)
		}
	}
	return current
}

// looker looks at the devices of a running container.
type looker struct {
	t    *resource.Target
	list []byte // what it may use on cgroup v1; nil: nobody knows
	// current are those of its devices whose numbers are theirs.
	current func() []Device
}

func newLooker(t *resource.Target, records []Device) (looker, error) {
	list, err := allowed(t)
	return looker{t, list, sync.OnceValue(func() []Device { return withCurrentNumbers(records) })}, err
}

// gone looks at a device that the host does not have, for the reason why: the container
// must not have what may be another's.
func (l looker) gone(d Device, why error, v *resource.View) error {
	switch {
	case errors.Is(why, errNoDevice):
		v.DifferForGood("record refused", "%v", why)
	case !d.Optional && d.Parent == "":
		reason := "the host has no " + d.PathOnHost
		if !errors.Is(why, unix.ENOENT) { // another has its name
			reason = why.Error()
		}
		v.DifferForGood("device missing on the host", "%s", reason)
	}
	if d.hasFixedNumber() {
		return nil
	}
	at, err := d.inContainer(l.t)
	if err != nil {
		return err
	}
	defer at.close()
	var left []string
	if has, err := l.hasNode(d, at); err != nil {
		return err
	} else if has {
		v.Real = *at.node()
		left = append(left, "its node "+d.PathInContainer)
	}
	if access := l.access(d); access != "" {
		left = append(left, "the permission "+v1RuleFor(d, access))
	}
	if l.list == nil && l.t.Ledger.Made(kindName, d, new(any)) {
		left = append(left, "the permission that it was granted")
	}
	if len(left) > 0 {
		v.Differ("device gone, not revoked", "the host's %s is gone, and the container still has %s: %s %s may be another device now",
			d.PathOnHost, strings.Join(left, " and "), d.Type, d.numbers())
	}
	return nil
}

// hasNode tells whether the node of a device that is gone is there, and is ours to remove.
func (l looker) hasNode(d Device, at inPlace) (bool, error) {
	if at.file == nil || !isDevice(at.st, d) || d.isContainers(l.t) {
		return false, nil
	}
	if on, err := l.t.Root.Where(at.dir); err != nil || on.OfHost {
		return false, err
	}
	var is made
	bound, err := mounted(at.dir, at.file)
	return !bound || l.t.Ledger.Made(kindName, d, &is) && is.Bound, err
}

// access is what the controller of cgroup v1 has for exactly the number of a device that is
// gone, and nothing else asks for.
func (l looker) access(d Device) string {
	if l.list == nil {
		return ""
	}
	return cgroup.Without(revocable(d, l.t.DeviceRules, l.current()), missingAccess(string(l.list), d, accessByOwnLine))
}
