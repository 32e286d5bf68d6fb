package place

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Deployments know these names and places.
func TestPlacesAreThoseOfTheDeployments(t *testing.T) {
	t.Parallel()
	want := []Generation{
		{
			Tool: "isulad-tools", Hook: "isulad-hooks", Helper: "isulad-tools_wrapper",
			RunDir: "/run/isulad-tools", Log: "/var/log/hyperagent/isulad-tools.log",
		},
		{
			Tool: "syscontainer-tools", Hook: "syscontainer-hooks", Helper: "syscontainer-tools_wrapper",
			RunDir: "/run/syscontainer-tools", Log: "/var/log/hyperagent/syscontainer-tools.log",
		},
	}
	if diff := cmp.Diff(want, Generations); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if Isulad != Generations[0] || Syscontainer != Generations[1] {
		t.Error("the primary generation is not the first")
	}
	if got := Syscontainer.NetNS(); got != "/run/syscontainer-tools/netns" {
		t.Errorf("netns pins in %s", got)
	}
	if got := Isulad.Starts(); got != "/run/isulad-tools/containers" {
		t.Errorf("start records in %s", got)
	}
	if SharedPath != "/.sharedpath" {
		t.Errorf("the shared path is %s", SharedPath)
	}
}
