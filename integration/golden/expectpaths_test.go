package golden

// pathExpectations are those of add-path and remove-path.
var pathExpectations = map[string]expectation{
	"corrupt-config-add-path": {exit: 1, stderr: "Failed to add path: " + resourceFile + "invalid character 'n' looking for beginning of object key string\n"},

	"config-with-unknown-fields": {
		stdout: sameOutput, effects: recordedEffects,
		hook: `{"bindToAdd":["/goldhost/dir:/x:rw,rslave"],"futureField":1}`,
	},

	// Mountpoints can be entered and read.
	"add-path-file":                  {stdout: sameOutput, effects: with(recordedEffects, readable)},
	"add-path-nested":                {stdout: sameOutput, effects: with(recordedEffects, readable)},
	"remove-path-file":               {stdout: sameOutput, effects: with(recordedEffects, readable)},
	"remove-path-one-of-two-targets": {stdout: sameOutput, effects: with(recordedEffects, readable)},
	"remove-path-three-part":         {stdout: sameOutput, effects: with(recordedEffects, readable)},
	"remove-path-two":                {stdout: sameOutput, effects: with(recordedEffects, readable)},
	"remove-path-unclean":            {stdout: sameOutput, effects: with(recordedEffects, readable)},

	// Who mistypes a path of the host is told what became of it.
	"add-path-missing-host-dir":            {stdout: sameOutput, stderr: madeOnHost("/goldhost/newdir/sub"), effects: recordedEffects},
	"add-path-stopped-missing-host":        {stdout: sameOutput, stderr: madeOnHost("/goldhost/newdir"), effects: recordedEffects},
	"add-path-stopped-userns-new-host-dir": {stdout: sameOutput, stderr: madeOnHost("/goldhost/newdir"), effects: recordedEffects},

	// Messages are for people.
	"remove-path-not-added":    {exit: 1, stderr: notAddedPath("/goldhost/dir2:/q"), effects: recordedEffects},
	"remove-path-stopped-none": {exit: 1, stderr: notAddedPath("/goldhost/dir:/x"), effects: recordedEffects},
	"remove-path-same-twice": {
		exit: 1, stdout: sameOutput, stderr: notAddedPath("/goldhost/dir:/x"),
		effects: with(recordedEffects, readable),
	},
	"remove-path-two-one-bad": {
		exit: 1, stdout: sameOutput, stderr: notAddedPath("/goldhost/dir2:/q"),
		effects: with(recordedEffects, readable),
	},

	// What contradicts itself or is followed by nonsense changes nothing.
	"add-path-opt-ro-rw":                      {exit: 1, stderr: badOptions("ro,rw"), hook: "before"},
	"add-path-opt-rw-private-rslave":          {exit: 1, stderr: badOptions("rw,private,rslave"), hook: "before"},
	"add-path-second-bad-but-new-dir-created": {exit: 1, stderr: "Failed to parse bind: bad, invalid path specification: bad\n"},

	"add-path-to-root": {
		exit: 1, hook: "before",
		stderr: "Failed to parse bind: /goldhost/dir:/, invalid path specification: / in the container cannot be mounted over, the container would stop working: choose a path below it or elsewhere\n",
	},

	"remove-path-already-unmounted": {stdout: "Remove path (/goldhost/dir) from container(gold,/x) done\n", hook: "{}", effects: restGone},
}

func notAddedPath(pair string) string {
	return "Failed to remove path: Path pair(" + pair + ") is not added by syscontainer-tools, can not remove it, please check input parameter\n"
}

func madeOnHost(path string) string {
	return "warning: add path " + path + ":/x:rw,rslave: the host had no " + path + ": made, an empty directory\n"
}

func badOptions(options string) string {
	return "Failed to parse bind: /goldhost/dir:/x:" + options + ", invalid permissions: " + options + "\n"
}

// readable is what we make of mountpoints that v0.9 made for root alone.
func readable(_ *testCase, e *effects) {
	for p, n := range e.CtrNodes {
		if n == nil || n.Mode != "0o600" {
			continue
		}
		ours := *n
		ours.Mode = map[string]string{"d": "0o755", "f": "0o644"}[n.Type]
		e.CtrNodes[p] = &ours
	}
}

// shaDir is what the staging mounts of /goldhost/dir are called by.
const shaDir = "102420385b5defcef6f0e3a9d24e18d2a5cba3575b3cd233868194f74273f814"

func transferMount(dir, mode string) string {
	return "/.sharedpath/" + dir + "/" + containerID + "/" + shaDir + " root=/goldhost/dir opts=" + mode + ",relatime prop=master fs=overlay"
}

// restGone: the container's own mount was gone before.
func restGone(_ *testCase) effects {
	e := effects{
		CtrMounts: change{Removed: []string{"/.sharedpath/" + shaDir + " root=/goldhost/dir opts=rw,relatime prop=master fs=overlay"}},
		CtrNodes:  map[string]*node{"/x": {Type: "d", Mode: "0o755"}},

		SharedPath: map[string]*string{},
	}
	for _, dir := range []string{"midpath", "master"} {
		e.HostMounts.Removed = append(e.HostMounts.Removed, transferMount(dir, "rw"))
		path := "/.sharedpath/" + dir + "/" + containerID + "/" + shaDir
		e.SharedPath[path], e.SharedPath[path+"/f"] = nil, nil
	}
	return e
}
