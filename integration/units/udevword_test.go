package units

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/place"
)

func TestAContainerIsFoundByTheWordOfItsRules(t *testing.T) {
	g := place.Isulad
	isulads := func(beginning string) string { return beginning + strings.Repeat("0", 64-len(beginning)) }
	write := func(g place.Generation, id, bundle string) {
		t.Helper()
		must(t, container.WriteStart(g, id, container.Start{Bundle: bundle}))
		t.Cleanup(func() { must(t, container.RemoveStart(id)) })
	}
	write(g, isulads("abcdef11"), "/one")
	write(g, isulads("abcdef22"), "/two")
	write(place.Syscontainer, isulads("ef00ef00"), "/old")
	write(place.Syscontainer, isulads("abcdef11"), "/older") // both generations' hooks are listed
	write(g, isulads("deadbeef1"), "/three")
	write(g, isulads("deadbeef2"), "/four")
	write(g, "web10", "/ten")
	write(g, "x", "/x")
	write(g, "xy", "/xy")
	write(g, "_x", "/under")
	write(g, "12345678", "/whole")
	write(g, isulads("12345678"), "/isulads")
	must(t, os.WriteFile(filepath.Join(g.Starts(), ".y.new"), []byte("of a kill"), 0o600))
	t.Cleanup(func() { must(t, os.Remove(filepath.Join(g.Starts(), ".y.new"))) })
	for word, want := range map[string]string{
		"abcdef11": "/one", "abcdef22": "/two", "ef00ef00": "/old", isulads("ef00ef00"): "/old",
		"web10": "/ten", "x": "/x", "xy": "/xy", "_x": "/under", "12345678": "/whole",
	} {
		t.Run("found by "+word, func(t *testing.T) {
			id, s, err := container.FindStart(word)
			if err != nil || s.Bundle != want || !container.WordMeans(word, id) {
				t.Errorf("got %s, %+v, %v, want %s", id, s, err, want)
			}
		})
	}
	for word, want := range map[string]string{
		"web1": "start record of web1", "we": "start record of we", "abcdef1": "start record of", "abcdef110": "start record of", "abcdef33": "start record of",
		"deadbeef": "more than one", "": "not a container's id", "../x": "not a container's id", ".y.new": "not a container's id",
	} {
		t.Run("not found by "+word, func(t *testing.T) {
			id, s, err := container.FindStart(word)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("got %s, %+v, %v, want an error that says %q", id, s, err, want)
			}
			if missing := errors.Is(err, fs.ErrNotExist); missing != strings.Contains(want, "record") {
				t.Errorf("got %v, which is fs.ErrNotExist: %v", err, missing)
			}
		})
	}
}

// A rule of plain runc's container has its whole id. What else begins so, or is
// called so, is another container.
func TestAnEventIsOfNoContainerWhoseIdOnlyBeginsLikeIt(t *testing.T) {
	fakeProgram(t, "udevadm", "")
	p := plug(t)
	b := running(t, map[string]any{"deviceToAdd": []devices.Device{p.record("/dev/"+p.name, "/dev/x", "rw")}}, pivoted)
	b.start()
	disk := map[string]string{"/dev/x": fmt.Sprintf("7:%d", p.minor)}
	p.cut(t, 1)
	full := b.id + strings.Repeat("0", 64)
	// isulad finds containers by their names, too.
	asked := fakeProgram(t, "isula", `echo '[{"Id":"`+full[:64]+`","State":{"Pid":0},"LogPath":"`+b.dir+`/console.log"}]'`)
	for name, word := range map[string]string{
		"a beginning of the id":          b.id[:len(b.id)-1],
		"more than the id":               b.id + "0",
		"a name":                         "web1",
		"a name, of hexadecimal digits":  "c0ffee",
		"a beginning, like iSulad's own": "c0ffee00",
	} {
		t.Run(name, func(t *testing.T) {
			log := helper(t, 0, "add", word, p.part(1), "/dev/x", p.name)
			if !strings.Contains(log, "the container does not run") {
				t.Errorf("logged %s", log)
			}
			b.has(disk)
		})
	}
	if got := asked(); strings.Contains(got, "web1") || !strings.Contains(got, "c0ffee00") {
		t.Errorf("isula was asked %q, want what may be an id of its", got)
	}
}

// The rules of a container that isulad does not have any more go, although it has
// another one whose id begins as a whole id does.
func TestARuleGoesThoughAnotherContainersIdBeginsLikeIt(t *testing.T) {
	graph := t.TempDir()
	fakeProgram(t, "udevadm", "")
	fakeProgram(t, "isula", `[ "$1" = info ] && echo "iSulad Root Dir: `+graph+`"`)
	must(t, os.MkdirAll(filepath.Join(graph, "engines/lcr/c0ffee0"+strings.Repeat("1", 57)), 0o755))
	const line = `KERNEL=="sda*",RUN{program}+="/lib/udev/isulad-tools_wrapper $env{ACTION} c0ffee0 $name /dev/x sda"` + "\n"
	write(t, rules, line)
	t.Cleanup(func() { must(t, os.Remove(rules)) })
	helper(t, 0, "add", "c0ffee0", "sda1", "/dev/x", "sda")
	if text := read(t, rules); strings.Contains(text, "c0ffee0 ") {
		t.Errorf("the rules are\n%s", text)
	}
}
