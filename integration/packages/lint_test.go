package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

// What the distributions' checkers say is mended, or overridden for a reason.
func TestCheckersOfPackagesHaveNothingToSay(t *testing.T) {
	top, err := sandbox.Module()
	if err != nil {
		t.Fatal(err)
	}
	// rpmlint unpacks by cpio, which takes nfpm's names, from the root on, as they
	// are: it would put the package into place.
	bin := t.TempDir()
	put(t, filepath.Join(bin, "cpio"), "#!/bin/sh\nexec /usr/bin/cpio --no-absolute-filenames \"$@\"\n")
	if err := os.Chmod(filepath.Join(bin, "cpio"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for _, c := range []struct {
		name string
		args []string
	}{
		{"lintian", []string{"--allow-root", "--tag-display-limit", "0", made(t, shipped, "deb")}},
		{"rpmlint", []string{"--rpmlintrc", filepath.Join(top, "packaging/rpmlintrc"), made(t, shipped, "rpm")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), c.name, c.args...).CombinedOutput()
			if said := regexp.MustCompile(`(?m)^.*\b[EW]: .*$`).FindAllString(string(out), -1); err != nil || len(said) > 0 {
				t.Errorf("%v, got %q in %.4000s, want nothing", err, said, out)
			}
		})
	}
}
