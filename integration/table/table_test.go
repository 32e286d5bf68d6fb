package table

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A tree with a table and a place for its summary.
func tree(t *testing.T, rows ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, whole), begin+"\n"+strings.Join(rows, "\n")+"\n"+end+"\n")
	put(t, filepath.Join(dir, summary), "# Before\n"+begin+"\n"+end+"\nafter\n")
	return dir
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAnUpdateKeepsOtherColumnsAndCountsWhatConcernsAKind(t *testing.T) {
	t.Parallel()
	dir := tree(t, "|  | v1 runc | v2 lcr |", "| starts | yes | yes |", "| stops | says so | – |", "| was a row once | yes | yes |")
	found := Results{Rows: []string{"starts", "stops"}, Found: Found{Column(V1, Podman): {"starts": Works, "stops": Works}}}
	if differ, err := Publish(dir, found, false); err != nil || len(differ) == 0 {
		t.Errorf("before the update: got %q, %v, want differences", differ, err)
	}
	if _, err := Publish(dir, found, true); err != nil {
		t.Fatal(err)
	}
	if differ, err := Publish(dir, found, false); err != nil || len(differ) > 0 {
		t.Errorf("after the update: got %q, %v, want none", differ, err)
	}
	got, err := os.ReadFile(filepath.Join(dir, summary))
	if err != nil {
		t.Fatal(err)
	}
	want := "# Before\n" + begin + `
|  | v1 | v2 | 5.10 | 4.19 |
| --- | --- | --- | --- | --- |
| runc | 1 of 2 | 0 of 2 | 0 of 2 | 0 of 2 |
| runc userns | 0 of 2 | 0 of 2 | 0 of 2 | 0 of 2 |
| lcr | 0 of 2 | 1 of 1 | 0 of 2 | 0 of 2 |
| lcr userns | 0 of 2 | 0 of 2 | 0 of 2 | 0 of 2 |
| podman | 2 of 2 | – | – | – |
` + end + "\nafter\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("README.md (-want +got):\n%s", diff)
	}
}

func TestTheSummaryIsThatOfTheTable(t *testing.T) {
	t.Parallel()
	const top = "../.."
	_, text, _, err := split(filepath.Join(top, whole))
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, row := range strings.Split(strings.TrimSpace(text), "\n")[2:] {
		rows = append(rows, strings.TrimSpace(strings.Split(row, "|")[1]))
	}
	if len(rows) < 20 {
		t.Fatalf("got %d rows, want the table's: %q", len(rows), rows)
	}
	differ, err := Publish(top, Results{Rows: rows}, false)
	if err != nil || len(differ) > 0 {
		t.Errorf("%v\n%s", err, strings.Join(differ, "\n"))
	}
}
