package units

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/container/engines"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/process"
)

func TestRuncsContainersAreFound(t *testing.T) {
	id := "units-" + strings.Repeat("a", 20)
	b := &sandbox.Bundle{Dir: filepath.Join(t.TempDir(), id), ID: id}
	must(t, sandbox.Rootfs(filepath.Join(b.Dir, "rootfs")))
	must(t, sandbox.WriteBundle(b))
	runc := sandbox.Runc{Root: t.TempDir()}
	engine, err := engines.New("runc:"+runc.Root, "")
	must(t, err)
	if _, err := engine.Find(t.Context(), id); err == nil {
		t.Error("found before it was made")
	}
	runc.DeleteAtEnd(t, id)
	must(t, runc.Run(id, b.Dir))
	s, err := runc.State(id)
	must(t, err)
	got, err := engine.Find(t.Context(), id)
	if want := (container.Container{ID: id, Engine: "runc", PID: s.Pid, Start: got.Start, Dir: b.Dir}); err != nil || got != want {
		t.Errorf("running: %+v, %v, want %+v", got, err, want)
	}
	if init, err := got.Init(); err != nil || init.PID != s.Pid {
		t.Errorf("running: its init is %v, %v, want %d", init, err, s.Pid)
	}
	must(t, runc.Stop(id))
	got, err = engine.Find(t.Context(), id)
	if err != nil || got.ID != id || got.Dir != b.Dir {
		t.Errorf("stopped: %+v, %v", got, err)
	}
	if init, err := got.Init(); !errors.Is(err, process.ErrGone) {
		t.Errorf("stopped: its init is %v, %v, want that it is gone", init, err)
	}
	must(t, runc.Delete(id))
	if _, err := engine.Find(t.Context(), id); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("deleted: %v, want an error in words", err)
	}
}
