package install

import (
	"path/filepath"
	"strings"
	"testing"

	helper "isula.org/isulad-tools/internal/place"
)

func TestTheRuleForLogrotateIsOfTheLogsThatTheHelperWrites(t *testing.T) {
	t.Parallel()
	logs, options, _ := strings.Cut(string(rotationRule()), " {\n")
	var want []string
	for _, g := range helper.Generations {
		want = append(want, g.Log)
	}
	if got := strings.Fields(logs); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %q, want %q", got, want)
	}
	// The helper would write to a file that logrotate had made for another owner or mode.
	if !strings.Contains(options, "\tnocreate\n") || !strings.HasSuffix(options, "\n}\n") {
		t.Errorf("got %q", options)
	}
}

func TestAnEditedRuleForLogrotateSurvivesInstallAndUninstall(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	mustInstall(t, root, "", build(t, "v1"))
	edited := strings.Replace(string(rotationRule()), "weekly", "daily", 1)
	put(t, root, rotation, edited, 0o644)
	if out := mustInstall(t, root, "", build(t, "v2")); !strings.Contains(out, "kept       "+filepath.Join(root, rotation)) || read(t, root, rotation) != edited {
		t.Errorf("install did not keep it:\n%s", out)
	}
	if out := mustUninstall(t, root); !strings.Contains(out, "left       "+filepath.Join(root, rotation)) || read(t, root, rotation) != edited {
		t.Errorf("uninstall did not leave it:\n%s", out)
	}
}
