// Package table keeps the table of README.md that says what works with which
// kind of container. The scenario's tests find it out, here and in the test
// machine; this is the form in which they compare and write it.
package table

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The table stands between these lines of README.md.
const (
	begin = "<!-- scenario: filled by go test ./integration/scenario -update, and ./integration/vm -update -->"
	end   = "<!-- scenario: end -->"
)

// The columns' names: a world, and a kind of container in it.
const (
	V1     = "v1"
	V2     = "v2"
	As5_10 = "5.10"
	As4_19 = "4.19"

	Runc       = "runc"
	MappedRunc = "runc userns"
	LCR        = "lcr"
	MappedLCR  = "lcr userns"
	Podman     = "podman"
)

// Column is the name of a column.
func Column(world, kind string) string { return world + " " + kind }

// Found is what a run found: cells by row, by column.
type Found map[string]map[string]string

// Results are what a run of the scenario found.
type Results struct {
	Rows  []string // in order
	Found Found
}

// Publish compares the README in dir with the results of some columns, and
// returns the lines that differ; with update it puts the results there.
func Publish(dir string, r Results, update bool) ([]string, error) {
	t := &table{rows: r.Rows, cells: Found{}}
	for _, world := range []string{V1, V2, As5_10, As4_19} {
		for _, kind := range []string{Runc, MappedRunc, LCR, MappedLCR} {
			t.columns = append(t.columns, Column(world, kind))
		}
		if world == V1 {
			t.columns = append(t.columns, Column(world, Podman))
		}
	}
	if err := t.read(dir); err != nil {
		return nil, err
	}
	for column, cells := range r.Found {
		if t.cells[column] == nil {
			t.cells[column] = map[string]string{}
		}
		maps.Copy(t.cells[column], cells)
	}
	if update {
		return nil, t.write(dir)
	}
	return t.compare(dir)
}

// table is the table: what a row says of every column.
type table struct {
	rows, columns []string
	cells         Found
}

// String is the table in Markdown.
func (t *table) String() string {
	var b strings.Builder
	line := func(first string, cell func(string) string) {
		b.WriteString("| " + first + " |")
		for _, c := range t.columns {
			b.WriteString(" " + cell(c) + " |")
		}
		b.WriteString("\n")
	}
	line("", func(c string) string { return c })
	line("---", func(string) string { return "---" })
	for _, row := range t.rows {
		line(row, func(c string) string {
			if cell, ok := t.cells[c][row]; ok {
				return cell
			}
			return "?"
		})
	}
	return b.String()
}

// read takes over the cells that the README in dir has.
func (t *table) read(dir string) error {
	_, old, _, err := split(dir)
	if err != nil {
		return err
	}
	var columns []string
	for line := range strings.Lines(old) {
		fields := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		switch {
		case columns == nil:
			columns = fields
		case slices.Contains(t.rows, fields[0]) && len(fields) == len(columns):
			for i, c := range columns[1:] {
				if t.cells[c] == nil {
					t.cells[c] = map[string]string{}
				}
				t.cells[c][fields[0]] = fields[i+1]
			}
		}
	}
	return nil
}

// compare says in which lines the README in dir differs from the table.
func (t *table) compare(dir string) ([]string, error) {
	_, old, _, err := split(dir)
	if err != nil {
		return nil, err
	}
	have, want := strings.Split(strings.TrimSpace(old), "\n"), strings.Split(strings.TrimSpace(t.String()), "\n")
	var differ []string
	for i := range max(len(have), len(want)) {
		var h, w string
		if i < len(have) {
			h = have[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if h != w {
			differ = append(differ, fmt.Sprintf("README.md has %s\n     found was %s", h, w))
		}
	}
	return differ, nil
}

// write puts the table into the README in dir.
func (t *table) write(dir string) error {
	before, _, after, err := split(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(readme(dir), []byte(before+t.String()+after), 0o644)
}

func readme(dir string) string { return filepath.Join(dir, "README.md") }

// split returns what stands before the table, in its place, and after it.
func split(dir string) (before, old, after string, err error) {
	text, err := os.ReadFile(readme(dir))
	if err != nil {
		return "", "", "", err
	}
	head, rest, ok1 := strings.Cut(string(text), begin+"\n")
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return "", "", "", fmt.Errorf("%s has no place for the table: %s", readme(dir), begin)
	}
	return head + begin + "\n", old, end + tail, nil
}
