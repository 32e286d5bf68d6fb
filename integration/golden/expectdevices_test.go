package golden

import "strings"

// deviceExpectations are those of add-device, remove-device and update-device.
var deviceExpectations = map[string]expectation{
	// What stands in the way is said, and only when something does.
	"add-device-force-no-file":           {stdout: added("/dev/new1"), effects: recordedEffects},
	"add-device-long-options-after-args": {stdout: added("/goldhost/chr1"), effects: recordedEffects},
	"add-device-force-over-nonempty-dir": {
		exit: 1, stderr: "Failed to add device: make node /etc: replace the existing file: unlinkat: directory not empty\n", effects: recordedEffects,
	},
	"add-device-over-existing-file": {
		exit: 1, stderr: "Failed to add device: make node /etc/hostname: the path already exists in the container: choose another, or give --force\n",
		effects: recordedEffects,
	},

	"add-device-disk-udev-foreign-lines": {stdout: sameOutput, effects: with(recordedEffects, foreignLines)},
	"add-device-stopped-relative-cgroup-parent": {
		stdout: added("/goldhost/chr1"), hook: `{"deviceToAdd":[` + chr1 + `]}`,
	},
	// A partition without its disk is listed as a device.
	"add-device-block-partition":  {stdout: sameOutput, effects: with(recordedEffects, partitionListed, followedAlone("/dev/loop40p1"))},
	"list-device-only-partitions": {stdout: listed(loopPartition("3", "1"))},
	"add-device-follow-partition-part": {
		stdout: sameOutput, effects: with(recordedEffects, followedAlone("/dev/loop40p1")),
	},
	"remove-device-block-leaves-parent-partitions": {
		stdout: sameOutput, effects: with(recordedEffects, followedAlone("/dev/gold0p1", "/dev/gold0p2")),
	},

	"remove-device-shared-numbers": {stdout: sameOutput, effects: with(recordedEffects, zeroStays)},

	// Limits are those of devices that are there, or were added.
	"qos-duplicate-device-fails-but-qos-applies": {exit: 1, stderr: sameOutput, hook: "before"},
	"qos-not-in-args-but-in-config": {
		stdout:  "Add device (/dev/loop41) to container(gold,/dev/loop41) done.\nUpdate read bps for device (/dev/loop40,1048576) done.\n",
		hook:    `{"deviceToAdd":[` + loop("40") + "," + loop("41") + `],"readBps":[{"major":7,"minor":40,"path":"/dev/loop40","value":"1048576"}]}`,
		effects: loop40Limited,
	},
	"weight-device-not-in-args": {
		exit: 1, stderr: "Failed to add device: device /dev/loop40 was not added to container or not in add-device args\n", hook: "{}",
	},

	// A limit of 0 is none, and what becomes 0 by rounding is refused.
	"qos-size-zero":            {stdout: sameOutput, hook: `{"deviceToAdd":[` + loop("41") + `]}`, effects: recordedEffects},
	"update-device-clear-zero": {stdout: sameOutput, hook: `{"deviceToAdd":[` + loop("41") + `]}`, effects: recordedEffects},
	"qos-size-half": {exit: 1, hook: "{}", stderr: "Invalid rate for device: /dev/loop41:0.5. The correct format is <device-path>:<number>[<unit>]. " +
		"Number must be a positive integer. Unit is optional and can be kb, mb, or gb\n"},

	// The recorder's kernel named a scheduler with weights, and had none.
	"weight-max":   {stdout: noWeight, effects: recordedEffects},
	"weight-min":   {stdout: noWeight, effects: recordedEffects},
	"weight-valid": {stdout: noWeight, effects: recordedEffects},
	"weight-zero": {
		stdout:  "Add device (/dev/loop41) to container(gold,/dev/loop41) done.\nUpdate blkio weight for device (/dev/loop41,0) done.\n",
		effects: recordedEffects,
	},

	"extra-arg-update-device-ignored": {
		exit: 1, hook: "before",
		stderr: "/goldhost/tool/syscontainer-tools: \"update-device\" takes no further arguments: junk\n",
	},
}

// chr1 is the record of /goldhost/chr1 as it is.
const chr1 = `{"Type":"c","Minor":229,"Major":10,"PathOnHost":"/goldhost/chr1","PathInContainer":"/goldhost/chr1","CgroupPermissions":"rwm","Parent":""}`

// loop is the record of a loop device as it is.
func loop(n string) string {
	return strings.ReplaceAll(`{"Type":"b","Minor":N,"Major":7,"PathOnHost":"/dev/loopN","PathInContainer":"/dev/loopN","CgroupPermissions":"rwm","Parent":""}`, "N", n)
}

// loopPartition is the record of the first partition of a loop device.
func loopPartition(minor, major string) string {
	return `{"Type":"b","Minor":` + minor + `,"Major":` + major + `,"PathOnHost":"/dev/loop40p1","PathInContainer":"/dev/loop40p1","CgroupPermissions":"rwm","Parent":"/dev/loop40"}`
}

// listed is what list-device prints for records.
func listed(records ...string) string { return "[" + strings.Join(records, ",") + "]\n" }

func partitionListed(c *testCase, e *effects) {
	text := c.local(listed(loopPartition("0", "259")))
	e.ListDevice = &text
}

func added(path string) string {
	return "Add device (/goldhost/chr1) to container(gold," + path + ") done.\n"
}

const noWeight = "Add device (/dev/loop41) to container(gold,/dev/loop41) done.\ndevice not support cfq:/dev/loop41\n"

// foreignLines: what somebody else wrote into the file stays as it was.
func foreignLines(_ *testCase, e *effects) {
	lines := strings.SplitAfter(*e.UdevRules, "\n")
	rules := strings.Join(lines[:3], "") +
		"KERNEL==\"foo\",RUN=\"x\"\n# c\n" +
		"KERNEL==\"sdq*\",ACTION==\"add|remove\", RUN{program}+=\"/lib/udev/w $env{ACTION} 12345678 $name /dev/q sdq\"\n" +
		strings.Join(lines[4:], "")
	e.UdevRules = &rules
}

// zeroStays: the container could use its own /dev/zero before.
func zeroStays(_ *testCase, e *effects) { e.CgroupDevices = change{} }

// loop40Limited: it was there, and loop41 comes.
func loop40Limited(c *testCase) effects {
	n, b := c.local("7:41"), c.local("/dev/loop41")
	return effects{
		CgroupDevices: change{Added: []string{"b " + n + " rwm"}},
		CgroupBlkio:   map[string][]string{"blkio.throttle.read_bps_device": {c.local("7:40") + " 1048576"}},
		CtrNodes:      map[string]*node{b: {Type: "b", Mode: "0o660", Rdev: n}},
	}
}
