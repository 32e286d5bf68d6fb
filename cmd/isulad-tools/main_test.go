package main

import (
	"fmt"
	"testing"

	"isula.org/isulad-tools/internal/place"
)

func TestTheBaseNameOfArgv0PicksThePersonality(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		argv0 string
		g     place.Generation
		role  role
		name  string
	}{
		{"isulad-tools", place.Isulad, toolRole, "isulad-tools"},
		{"/usr/local/bin/isulad-tools", place.Isulad, toolRole, "isulad-tools"},
		{"../x/isulad-hooks", place.Isulad, hookRole, "isulad-hooks"},
		{"/lib/udev/isulad-tools_wrapper", place.Isulad, helperRole, "isulad-tools_wrapper"},
		{"syscontainer-tools", place.Syscontainer, toolRole, "syscontainer-tools"},
		{"/var/lib/lcrd/hooks/syscontainer-hooks", place.Syscontainer, hookRole, "syscontainer-hooks"},
		{"syscontainer-tools_wrapper", place.Syscontainer, helperRole, "syscontainer-tools_wrapper"},
		// What says nothing is the command line tool, as long as the
		// executable's own name, here the test's, says nothing either.
		{"", place.Isulad, toolRole, "isulad-tools"},
		{"/", place.Isulad, toolRole, "isulad-tools"},
		{"myargv0", place.Isulad, toolRole, "isulad-tools"},
		{"isulad-hooks.bak", place.Isulad, toolRole, "isulad-tools"},
		{"ISULAD-HOOKS", place.Isulad, toolRole, "isulad-tools"},
	} {
		t.Run(c.argv0, func(t *testing.T) {
			g, role, name := programFor(c.argv0)
			if g != c.g || role != c.role || name != c.name {
				t.Errorf("%q: %s, %d, %q, want %s, %d, %q", c.argv0, g.Tool, role, name, c.g.Tool, c.role, c.name)
			}
		})
	}
}

func TestSixNames(t *testing.T) {
	t.Parallel()
	var known []string
	for _, g := range place.Generations {
		known = append(known, g.Tool, g.Hook, g.Helper)
	}
	if fmt.Sprint(known) != fmt.Sprint(names) {
		t.Errorf("the program knows %q, its scripts run %q", known, names)
	}
}
