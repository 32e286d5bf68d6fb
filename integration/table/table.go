// Package table keeps the table of docs/compatibility.md that says what works with
// which kind of container, and its summary in README.md. The scenario's tests find
// it out, here and in the test machine; this is the form in which they compare and
// write it.
package table

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Both stand between these lines of their files.
const (
	begin = "<!-- scenario: filled by go test ./integration/scenario -update, and ./integration/vm -update -->"
	end   = "<!-- scenario: end -->"

	whole   = "docs/compatibility.md"
	summary = "README.md"
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

// What a cell says.
const (
	Works   = "yes"
	Refused = "says so" // it cannot work there, and a clear message says that
	None    = "–"       // nothing of ours to do there
)

var (
	worlds = []string{V1, V2, As5_10, As4_19}
	kinds  = []string{Runc, MappedRunc, LCR, MappedLCR, Podman}
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

// Publish compares the tables in the tree at dir with the results of some columns,
// and returns the lines that differ; with update it puts the results there.
func Publish(dir string, r Results, update bool) ([]string, error) {
	t := &table{rows: r.Rows, cells: Found{}}
	for _, world := range worlds {
		for _, kind := range kinds {
			if kind != Podman || world == V1 {
				t.columns = append(t.columns, Column(world, kind))
			}
		}
	}
	if err := t.read(filepath.Join(dir, whole)); err != nil {
		return nil, err
	}
	for column, cells := range r.Found {
		if t.cells[column] == nil {
			t.cells[column] = map[string]string{}
		}
		maps.Copy(t.cells[column], cells)
	}
	var differ []string
	for name, want := range map[string]string{whole: t.String(), summary: t.summary()} {
		lines, err := publish(filepath.Join(dir, name), want, update)
		if err != nil {
			return nil, err
		}
		differ = append(differ, lines...)
	}
	return differ, nil
}

// table is the table: what a row says of every column.
type table struct {
	rows, columns []string
	cells         Found
}

// line is a line of a table in Markdown.
func line(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

// String is the table in Markdown.
func (t *table) String() string {
	rule := slices.Repeat([]string{"---"}, 1+len(t.columns))
	text := line(append([]string{""}, t.columns...)...) + line(rule...)
	for _, row := range t.rows {
		cells := []string{row}
		for _, c := range t.columns {
			cell, ok := t.cells[c][row]
			if !ok {
				cell = "?"
			}
			cells = append(cells, cell)
		}
		text += line(cells...)
	}
	return text
}

// summary has a row for each kind of container: of the rows that concern it, how
// many work in each world.
func (t *table) summary() string {
	text := line(append([]string{""}, worlds...)...) + line(slices.Repeat([]string{"---"}, 1+len(worlds))...)
	for _, kind := range kinds {
		cells := []string{kind}
		for _, world := range worlds {
			cells = append(cells, t.share(Column(world, kind)))
		}
		text += line(cells...)
	}
	return text
}

// share says how many rows of a column work, of those that concern it.
func (t *table) share(column string) string {
	if !slices.Contains(t.columns, column) {
		return None
	}
	work, all := 0, 0
	for _, row := range t.rows {
		switch t.cells[column][row] {
		case None:
			continue
		case Works:
			work++
		}
		all++
	}
	return fmt.Sprintf("%d of %d", work, all)
}

// read takes over the cells that the file has.
func (t *table) read(file string) error {
	_, old, _, err := split(file)
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

// publish puts a table into its file, or says in which lines the file differs from it.
func publish(file, table string, update bool) ([]string, error) {
	before, old, after, err := split(file)
	if err != nil {
		return nil, err
	}
	if update {
		return nil, os.WriteFile(file, []byte(before+table+after), 0o644)
	}
	have, want := strings.Split(strings.TrimSpace(old), "\n"), strings.Split(strings.TrimSpace(table), "\n")
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
			differ = append(differ, fmt.Sprintf("%s has %s\n     found was %s", file, h, w))
		}
	}
	return differ, nil
}

// split returns what stands before the table in the file, in its place, and after it.
func split(file string) (before, old, after string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", "", "", err
	}
	head, rest, ok1 := strings.Cut(string(text), begin+"\n")
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return "", "", "", fmt.Errorf("%s has no place for the table: %s", file, begin)
	}
	return head + begin + "\n", old, end + tail, nil
}
