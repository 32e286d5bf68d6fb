package units

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isula.org/isulad-tools/container/engines"
)

// Each container is listed once, by the engine that a person knows it from.
func TestTheContainersOfAllEnginesAreListed(t *testing.T) {
	graph := filepath.Join(t.TempDir(), "graph")
	must(t, os.CopyFS(graph, os.DirFS(recordedGraph)))
	pod := strings.Repeat("c", 64)
	bundle := "/var/lib/containers/storage/overlay-containers/" + pod + "/userdata"
	must(t, os.MkdirAll(bundle, 0o700))
	t.Cleanup(func() { must(t, os.RemoveAll("/var/lib/containers")) })
	write(t, "/var/lib/containers/storage/overlay-containers/containers.json", `[{"id":"`+pod+`","names":["pod"]}]`)
	plain := t.TempDir()
	for id, dir := range map[string]string{pod: bundle, "plain": plain} {
		write(t, filepath.Join("/run/runc", id, "state.json"), asJSON(t, map[string]any{
			"id": id, "init_process_pid": os.Getpid(), "init_process_start": 1, "config": map[string]any{"labels": []string{"bundle=" + dir}},
		}))
		t.Cleanup(func() { must(t, os.RemoveAll(filepath.Join("/run/runc", id))) })
	}
	all, err := engines.List(t.Context(), graph)
	must(t, err)
	var got []string
	for _, c := range all {
		got = append(got, fmt.Sprint(c.Engine, " ", c.Name, " ", c.ID[:4]))
		if !filepath.IsAbs(c.Dir) {
			t.Errorf("%+v", c)
		}
	}
	slices.Sort(got)
	want := []string{
		"isula created e4bb", "isula db-main 8e12", "isula gone 5b25", "isula midstart 027c", "isula paused1 cf52", "isula web-renamed 9eca",
		"podman pod cccc", "runc  plai",
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed are %q, want %q", got, want)
	}
}
