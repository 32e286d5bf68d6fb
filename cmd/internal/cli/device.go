package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/resource"
)

func (a App) deviceCommands() []cli.Command {
	var limits []cli.Flag
	for _, f := range limitFlags {
		limits = append(limits, cli.StringSliceFlag{Name: f.flag, Usage: f.usage})
	}
	return []cli.Command{
		{
			Name:      "add-device",
			Usage:     "give a container devices of the host",
			ArgsUsage: "<container> HOST[:CONTAINER][:PERMISSIONS]...",
			Description: "A directory as HOST, such as /dev/snd, stands for the devices in it, at any depth, but not for those that links lead\n" +
				"   to. Each of them is recorded, and can be removed, by itself.\n\n" +
				"   With --select there is no HOST: the container gets all nodes of that USB device whenever it is plugged in, by the\n" +
				"   kernel's names; or, if it has only one, at the path that may follow <container>, /dev/modem or /dev/modem:rw.",
			Flags: append([]cli.Flag{
				cli.BoolFlag{Name: "follow-partition", Usage: "add the partitions of disks, too"},
				cli.BoolFlag{Name: "force", Usage: "replace an existing file at a device's path in the container"},
				optionalFlag,
				selectFlag,
				configOnlyFlag, dryRunFlag,
			}, limits...),
			Action: a.addDevices,
		},
		{
			Name:      "remove-device",
			Usage:     "take devices away from a container",
			ArgsUsage: "<container> HOST[:CONTAINER]...",
			Flags: []cli.Flag{
				cli.BoolFlag{Name: "follow-partition", Usage: "remove the partitions of disks, too"},
				selectFlag,
				forgetFlag, dryRunFlag,
			},
			Action: a.removeDevices,
		},
		{
			Name:      "update-device",
			Usage:     "change the I/O limits of a container's disks",
			ArgsUsage: "<container>",
			Flags:     append([]cli.Flag{dryRunFlag}, limits[1:]...),
			Action:    a.updateDevices,
		},
	}
}

func (a App) addDevices(c *cli.Context) error {
	if hasSelector(c) {
		return a.addSelector(c)
	}
	if err := atLeastArgs(c, 2); err != nil {
		return err
	}
	limits, err := parseLimits(c)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(limits, func(l limitRequest) bool { return l.away != nil }); i >= 0 && !c.Bool(optionalFlag.Name) {
		return limits[i].away
	}
	list, folders, err := parseDevices(c)
	if err != nil {
		return err
	}
	return a.transact(c, "Failed to add device: ", resource.Skip, func(s *session) error {
		adder := devices.Adder{Force: c.Bool("force"), Host: s.host}
		edit, err := adder.Kind().Edit(s.change)
		if err != nil {
			return err
		}
		recorded := edit.Records()
		if has := len(recorded); folders && has+len(list) > devices.MaxInFolder {
			return fmt.Errorf("%d devices are too many: with a directory a container may have %d in all, and has %d; add the needed devices one by one", len(list), devices.MaxInFolder, has)
		}
		paths, err := config.List[mounts.Bind](s.doc, config.Binds)
		if err != nil {
			return err
		}
		targets := s.host.LimitTargets(slices.Concat(list, recorded))
		if err := limitsHaveDevices(limits, targets); err != nil {
			return err
		}
		tasks := make([]*resource.Task, len(list))
		for i, d := range list {
			tasks[i] = s.addDevice(edit, &adder, d, recorded, paths)
		}
		s.syncUnit(edit, recorded)
		s.follow(s.followed(edit), !c.Bool(configOnlyFlag.Name))
		return s.setLimits(limits, targets, func(l limitRequest) *resource.Task {
			for _, t := range targets {
				if i := slices.Index(list, t.Device); i >= 0 && l.isOf(t) {
					return tasks[i]
				}
			}
			return nil
		})
	})
}

// addDevice plans that the container gets d, or why it cannot. A device that was recorded
// before it gets when it does not have it: a command was killed, or it is another device
// now, or the same one under another number.
func (s *session) addDevice(edit *resource.Edit[devices.Device], adder *devices.Adder, d devices.Device, recorded []devices.Device, paths []mounts.Bind) *resource.Task {
	var task *resource.Task
	for _, r := range edit.Records() {
		switch {
		case r.TakesForPartition(d):
			return edit.Fail("add", d, looksLikePartition(d, r))
		case d.TakesForPartition(r):
			return edit.Fail("add", d, looksLikePartition(r, d))
		case r.PathInContainer != d.PathInContainer && r.PathOnHost != d.PathOnHost:
		case r.IsAnother(d):
			return edit.Fail("add", d, fmt.Errorf("%s is another device now: it is %s, and was %s when it was added; remove-device first", d.PathOnHost, d.Identity, r.Identity))
		case r.Select == "" && r.PathInContainer == d.PathInContainer && r.PathOnHost == d.PathOnHost && r.CgroupPermissions == d.CgroupPermissions &&
			slices.Contains(recorded, r) && s.isLostDevice(r):
			d.Own, d.Optional = r.Own, d.Optional || r.Optional
			task = edit.Update(r, d)
		default:
			return edit.Fail("add", d, fmt.Errorf("device %s:%s has been already added into container", r.PathOnHost, r.PathInContainer))
		}
	}
	if task == nil {
		if err := cmp.Or(s.checkVisible(paths, d), s.container().CheckDevice(s.wait, d.PathOnHost)); err != nil {
			return edit.Fail("add", d, err)
		}
		if d.IsAway() {
			task = edit.RecordOnly(d)
			s.printOnSuccess(task, "device %s is not on the host now: the container gets it when it appears", d.PathOnHost)
		} else {
			d.Own = s.target != nil && d.HadBefore(s.target)
			task = edit.Add(d)
		}
		s.unfollowed(task, d)
	}
	s.printLater(func() string {
		if task.Err == nil && adder.Replaced(d) {
			return fmt.Sprintf("path %s in container already exists. removing it.", d.PathInContainer)
		}
		return ""
	})
	s.printOnSuccess(task, "Add device (%s) to container(%s,%s) done.", d.PathOnHost, s.name, d.PathInContainer)
	return task
}

func looksLikePartition(d, disk devices.Device) error {
	return fmt.Errorf("%s in the container would be taken for a partition of %s, which %s is not: choose another path in the container", d.PathInContainer, disk.PathInContainer, d.PathOnHost)
}

// unfollowed plans the word that nobody tells when d goes. That its driver does not, which nobody
// can do anything about, only the log has.
func (s *session) unfollowed(task *resource.Task, d devices.Device) {
	why, unknown := d.Unfollowed(), d.IsUnknown()
	s.printLater(func() string {
		what := fmt.Sprintf("device %s is not followed: only starts and commands look up its number", d.PathOnHost)
		switch {
		case task.Err != nil:
		case why != "":
			s.app.warn(what, errors.New(why))
		case unknown:
			s.app.log.Warn(what + ": its driver tells udevd nothing")
		}
		return ""
	})
}

// isLostDevice tells whether a recorded device is not there, or may not be, or was not when
// the command began.
func (s *session) isLostDevice(d devices.Device) bool {
	if slices.Contains(s.renewed, d) || s.target == nil && d.IsStale() {
		return true
	}
	return s.target != nil && (s.target.Ledger.Pending(devices.Kind.Name, d) || devices.Kind.Verify(context.Background(), s.target, d) != nil)
}

// followed returns what finds out which devices are to be followed.
func (s *session) followed(edit *resource.Edit[devices.Device]) func() ([]devices.Followed, error) {
	return func() ([]devices.Followed, error) {
		// What changed meanwhile is told of by the rules of before, for all but what is added.
		records := edit.Records()
		return devices.FollowFound(s.doc, records, s.host.Look(records))
	}
}

// follow plans that the container's devices are followed from now on, by udevd's
// rules unless those are to be left alone, when one of them comes or goes.
func (s *session) follow(list func() ([]devices.Followed, error), rules bool) {
	if !slices.ContainsFunc(s.change.Tasks, func(t *resource.Task) bool {
		_, ok := t.Record.(devices.Device)
		_, selector := t.Record.(devices.Selector)
		return (ok || selector) && t.Err == nil
	}) {
		return
	}
	s.change.Finally(func(ctx context.Context) error {
		followed, err := list()
		if err != nil || !rules {
			return err
		}
		changed, err := devices.SyncRules(ctx, s.app.Generation, s.id, followed, commandLockWait)
		s.reload = s.reload || changed
		return err
	})
}

func (a App) removeDevices(c *cli.Context) error {
	if hasSelector(c) {
		return a.removeSelector(c)
	}
	if err := atLeastArgs(c, 2); err != nil {
		return err
	}
	list, err := parseMappings(c)
	if err != nil {
		return err
	}
	return a.transact(c, "Failed to remove device: ", resource.Skip, func(s *session) error {
		edit, err := devices.Kind.Edit(s.change)
		if err != nil {
			return err
		}
		recorded := edit.Records()
		var gone []devices.Device
		for _, m := range list {
			found, ok := m.find(edit.Records())
			if !ok {
				//lint:ignore ST1005 the wording of v0.9
				edit.Fail("remove", m.record(), fmt.Errorf("Device pair(%s) is not added by %s, can not remove it, please check input parameter.", m.withDefaults(), a.Name))
				continue
			}
			if found.Select != "" {
				edit.Fail("remove", found, fmt.Errorf("device %s:%s is there as long as its selector: remove-device --select %s", found.PathOnHost, found.PathInContainer, found.Select))
				continue
			}
			gone = append(gone, found)
			if c.Bool("follow-partition") {
				gone = append(gone, partitions(found, edit.Records(), gone)...)
			}
		}
		if err := s.revokeDevices(edit, gone); err != nil {
			return err
		}
		s.syncUnit(edit, recorded)
		s.follow(s.followed(edit), true)
		return nil
	})
}

// withDefaults is the mapping with each side standing for a missing one.
func (m mapping) withDefaults() mapping {
	if m.host == "" {
		m.host = m.container
	}
	if m.container == "" {
		m.container = m.host
	}
	return m
}

func (m mapping) record() devices.Device {
	m = m.withDefaults()
	return devices.Device{PathOnHost: m.host, PathInContainer: m.container, CgroupPermissions: m.permissions}
}

// find returns the record that m stands for. Either side suffices.
func (m mapping) find(list []devices.Device) (devices.Device, bool) {
	i := slices.IndexFunc(list, func(d devices.Device) bool {
		return (m.host == "" || m.host == d.PathOnHost) && (m.container == "" || m.container == d.PathInContainer)
	})
	if i < 0 {
		return devices.Device{}, false
	}
	return list[i], true
}

// partitions returns the records in all of disk's partitions, except known ones. A
// partition that was added by itself names the disk by its kernel name.
func partitions(disk devices.Device, all, known []devices.Device) []devices.Device {
	kernel := disk.PathOnHost
	// Not what its path leads to: that may be another disk, whose partitions stay.
	if now, _, err := devices.Kind.Resolve(disk); err == nil && now.Type == "b" {
		if block, err := devices.FindBlock(now.Major, now.Minor); err == nil {
			kernel = "/dev/" + block.Name
		}
	}
	var list []devices.Device
	for _, d := range all {
		if on := d.ParentNow(); (on == disk.PathOnHost || on == kernel) && !slices.Contains(known, d) {
			list = append(list, d)
		}
	}
	return list
}

// revokeDevices plans that the container loses devices, each with its limits.
func (s *session) revokeDevices(edit *resource.Edit[devices.Device], gone []devices.Device) error {
	targets := s.host.LimitTargets(edit.Records())
	kinds := devices.LimitKinds()
	edits := make([]*resource.Edit[devices.Limit], len(kinds))
	for i, k := range kinds {
		var err error
		if edits[i], err = k.Edit(s.change); err != nil {
			return err
		}
	}
	for _, d := range gone {
		if !slices.Contains(edit.Records(), d) { // named twice
			edit.Fail("remove", d, fmt.Errorf("device %s:%s has not been added into container", d.PathOnHost, d.PathInContainer))
			continue
		}
		task := edit.Remove(d)
		s.printOnSuccess(task, "Remove device (%s) from container(%s,%s) done.", d.PathOnHost, s.name, d.PathInContainer)
		for i, limits := range edits {
			for _, l := range limits.Records() {
				if goesWith(d, gone, targets.LimitedBy(l)) {
					t := removeLimit(limits, l, targets)
					t.Needs = task
					s.printOnSuccess(t, "Remove %s for device (%s) done.", kinds[i].Name, d.PathOnHost)
				}
			}
		}
	}
	return nil
}

// goesWith tells whether a limit goes with d, which it limits: not if another record, or one of
// a partition, stays.
func goesWith(d devices.Device, gone []devices.Device, limited devices.LimitTargets) (is bool) {
	for _, t := range limited {
		if !slices.Contains(gone, t.Device) {
			return false
		}
		is = is || t.Device == d
	}
	return is
}

// removeLimit plans a limit less. That of a device which is away went with it: its numbers may be
// another's.
func removeLimit(limits *resource.Edit[devices.Limit], l devices.Limit, targets devices.LimitTargets) *resource.Task {
	if targets.AreThere(l) {
		return limits.Remove(l)
	}
	return limits.RemoveRecord(l)
}
