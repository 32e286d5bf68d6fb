package packages

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

// This runs on another host, by its name, than TestMain's. The compressor of what
// ships gives the same bytes for the same bytes: a function without clock or threads.
func TestACommitGivesTheSameBytesEverywhere(t *testing.T) {
	sums := func() map[string][32]byte {
		t.Helper()
		all := map[string][32]byte{}
		for _, kind := range []string{"deb", "rpm"} {
			content, err := os.ReadFile(made(t, light, kind))
			if err != nil {
				t.Fatal(err)
			}
			all[kind] = sha256.Sum256(content)
		}
		return all
	}
	first := sums()
	if err := makePackages(light, "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "USER=nobody", "GOFLAGS=-v", "CGO_ENABLED=1"); err != nil {
		t.Fatal(err)
	}
	for kind, sum := range sums() {
		if sum != first[kind] {
			t.Errorf("%s: got %x, want %x", kind, sum, first[kind])
		}
	}
}

func TestBothPackagesHoldTheSameFiles(t *testing.T) {
	kept := func(paths []string, except string) string {
		var all []string
		for _, path := range paths {
			path = strings.TrimSuffix(strings.TrimPrefix(path, "."), "/")
			// dpkg's folders are all named, up to the root.
			if info, err := os.Stat(path); err == nil && info.IsDir() || regexp.MustCompile(except).MatchString(path) {
				continue
			}
			all = append(all, path)
		}
		return strings.Join(all, "\n")
	}
	var deb []string
	archive := exec.CommandContext(t.Context(), "dpkg-deb", "--fsys-tarfile", made(t, shipped, "deb"))
	out, err := archive.Output()
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(bytes.NewReader(out)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		if h.Typeflag != tar.TypeDir {
			deb = append(deb, h.Name)
		}
	}
	rpm := strings.Fields(run(t, "rpm", "-qp", "--nosignature", "--qf", `[%{FILEMODES:perms} %{FILENAMES}\n]`, made(t, shipped, "rpm")))
	var files []string
	for i := 0; i+1 < len(rpm); i += 2 {
		if !strings.HasPrefix(rpm[i], "d") {
			files = append(files, rpm[i+1])
		}
	}
	inDeb, inRPM := kept(deb, `^/usr/share/(lintian|zsh|doc/isulad-tools/changelog(.Debian)?.gz)`), kept(files, `^(/etc/.*/hookspec.json|/usr/share/zsh/.*)$`)
	if inDeb != inRPM || len(inDeb) < 500 {
		t.Errorf("deb has\n%s\nrpm has\n%s", inDeb, inRPM)
	}
}

// What is linked is in the packages with its licence, and nothing else is.
func TestTheLicencesOfAllThatIsLinkedAreThere(t *testing.T) {
	top, err := sandbox.Module()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run(t, "dpkg-deb", "-x", made(t, shipped, "deb"), dir)
	content, err := os.ReadFile(filepath.Join(dir, "usr/share/doc/isulad-tools/licenses/linked"))
	if err != nil {
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), "go", "version", "-m", filepath.Join(top, "bin/packages/isulad-tools."+arch))
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := map[string]bool{"std": true}
	for _, m := range regexp.MustCompile(`(?m)^\tdep\t(\S+)\t`).FindAllStringSubmatch(string(out), -1) {
		linked[m[1]] = true
	}
	if len(linked) < 5 {
		t.Fatalf("got %v, want more of what is linked", linked)
	}
	for _, part := range strings.Split("\n"+string(content), "\n==== ")[1:] {
		name, text, _ := strings.Cut(part, " ")
		if !linked[name] {
			t.Errorf("%s is there, and is not linked", name)
		}
		if len(text) < 500 || !strings.Contains(strings.ToLower(text), "copyright") {
			t.Errorf("%s: got %q, want a licence", name, text)
		}
		delete(linked, name)
	}
	for name := range linked {
		t.Run(name, func(t *testing.T) {
			t.Errorf("%s is linked, and its licence is not there", name)
		})
	}
}
