package install

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTheFilesOfHooksDRunTheHookForWhoHasTheAnnotation(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	mustInstall(t, root, "/data/isulad", build(t, "v1"))
	for i, stage := range []string{"prestart", "poststop"} {
		var h ociHook
		if err := json.Unmarshal([]byte(read(t, root, others[i])), &h); err != nil {
			t.Fatal(err)
		}
		if h.Version != "1.0.0" || h.Hook.Path != "/data/isulad/hooks/isulad-hooks" || !slices.Equal(h.Stages, []string{stage}) ||
			!slices.Equal(h.Hook.Args, []string{"isulad-hooks", "--state", stage}) || len(h.When.Annotations) != 1 {
			t.Errorf("%s: %+v", stage, h)
		}
		for key, value := range h.When.Annotations {
			if !regexp.MustCompile(key).MatchString("isula.org/tools") || !regexp.MustCompile(value).MatchString("true") ||
				regexp.MustCompile(key).MatchString("isulaxorg/tools") || regexp.MustCompile(value).MatchString("untrue") {
				t.Errorf("%s: when %s is %s", stage, key, value)
			}
		}
		if info, err := os.Stat(filepath.Join(root, others[i])); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: %v, %v", stage, info, err)
		}
	}
}

func TestAFileOfHooksDForEveryContainerSurvivesInstallAndUninstall(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	mustInstall(t, root, "", build(t, "v1"))
	edited := strings.NewReplacer(`"annotations":{"^isula\\.org/tools$":"^true$"}`, `"always":true`, `"prestart"]`, `"prestart","--on-demand"]`).Replace(read(t, root, others[0]))
	if !json.Valid([]byte(edited)) || !strings.Contains(edited, "always") {
		t.Fatalf("the test's own JSON is broken: %s", edited)
	}
	put(t, root, others[0], edited, 0o644)
	if out := mustInstall(t, root, "", build(t, "v2")); strings.Count(out, "kept ") != 1 || read(t, root, others[0]) != edited {
		t.Errorf("not kept:\n%s", out)
	}
	if out := mustUninstall(t, root); strings.Count(out, "left ") != 1 || read(t, root, others[0]) != edited {
		t.Errorf("not left:\n%s", out)
	}
}
