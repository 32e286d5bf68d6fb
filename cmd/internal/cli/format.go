package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"
	"unicode/utf8"

	"isula.org/isulad-tools/inspection"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/terminal"
)

// formatOf returns what shows a value in a format: "table", by show, "json", or a template
// for the fields of the value.
func formatOf[T any](format string, w io.Writer, show func(T) error) (func(T) error, error) {
	switch format {
	case "table":
		return show, nil
	case "json":
		return func(v T) error { return printJSON(w, v, true) }, nil
	}
	if !strings.Contains(format, "{{") {
		return nil, fmt.Errorf("unknown format %s: want table, json or a Go template", format)
	}
	t, err := template.New("format").Parse(format)
	if err != nil {
		return nil, fmt.Errorf("format: %w", err)
	}
	return func(v T) error {
		if err := t.Execute(w, v); err != nil {
			return err
		}
		_, err := fmt.Fprintln(w)
		return err
	}, nil
}

// listing shows values one by one or, as JSON, as one list at its end.
type listing[T any] struct {
	show func(T) error // nil: as JSON
	w    io.Writer
	list []T
}

func newListing[T any](format string, w io.Writer, show func(T) error) (*listing[T], error) {
	l := &listing[T]{w: w, list: []T{}}
	if format == "json" {
		return l, nil
	}
	var err error
	l.show, err = formatOf(format, w, show)
	return l, err
}

func (l *listing[T]) add(values ...T) error {
	if l.show == nil {
		l.list = append(l.list, values...)
		return nil
	}
	for _, v := range values {
		if err := l.show(v); err != nil {
			return err
		}
	}
	return nil
}

func (l *listing[T]) end() error {
	if l.show != nil {
		return nil
	}
	return printJSON(l.w, l.list, false)
}

// lines shows a value as a line.
func lines[T fmt.Stringer](w io.Writer) func(T) error {
	return func(v T) error {
		_, err := fmt.Fprintln(w, command.Printable(v.String()))
		return err
	}
}

// width is that of what is printed for eyes.
const width = 100

// columns of a report, which together with the space between them are that wide.
var columns = []struct {
	title string
	width int
}{{"KIND", 13}, {"NAME", 18}, {"RECORDED", 31}, {"GRANTED", 7}, {"REAL", 23}}

func (a App) showReport(r inspection.Report) error {
	runs := "does not run"
	if r.PID != 0 {
		runs = fmt.Sprintf("runs as process %d, started without the hook", r.PID)
		if r.Hook {
			runs = fmt.Sprintf("runs as process %d, started with %s", r.PID, cmp.Or(r.HookVersion, "the hook"))
		}
	}
	lines := [][2]string{{"container", r.Name}, {"id", r.ID}, {"", runs}, {"bundle", r.Bundle}}
	if r.Engine != "" {
		lines = append(lines, [2]string{"engine", strings.TrimSpace(r.Engine + " " + r.Runtime)})
	}
	if r.Cgroup != nil {
		lines = append(lines, [2]string{fmt.Sprintf("cgroup v%d", r.Cgroup.Version), r.Cgroup.Path})
	}
	if r.UserNamespace {
		lines = append(lines, [2]string{"users", "a namespace of its own"})
	}
	out := screen{w: a.Stdout}
	for _, l := range lines {
		if l[1] == "" || l == [2]string{"id", r.Name} {
			continue
		}
		out.printRow([]string{l[0], l[1]}, []int{13, width - 15})
	}
	var widths []int
	var titles []string
	for _, c := range columns {
		widths, titles = append(widths, c.width), append(titles, c.title)
	}
	if len(r.Kinds) > 0 {
		out.text.WriteByte('\n')
		out.printRow(titles, widths)
	}
	for _, k := range r.Kinds {
		for _, v := range k.Resources {
			granted := "-"
			switch string(v.Granted) {
			case "":
			case "null":
				granted = "?"
			default:
				granted = "yes"
			}
			out.printRow([]string{k.Name, v.Name, textOrDash(v.Recorded), granted, textOrDash(v.Real)}, widths)
			for _, d := range v.Differences {
				if err := out.warn(d.What + ": " + d.Why); err != nil {
					return err
				}
			}
		}
	}
	return out.flush()
}

// textOrDash is what there is, "-" for nothing.
func textOrDash(v fmt.Stringer) string {
	if v == nil {
		return "-"
	}
	return v.String()
}

// screen is text that is printed at once, as far as it has one colour.
type screen struct {
	text strings.Builder
	w    io.Writer
}

func (s *screen) flush() error {
	text := s.text.String()
	s.text.Reset()
	_, err := io.WriteString(s.w, text)
	return err
}

// printRow adds cells of these widths; what does not fit goes on below.
func (s *screen) printRow(cells []string, widths []int) {
	lines := make([][]string, len(cells))
	most := 0
	for i, c := range cells {
		lines[i] = wrap(command.Printable(c), widths[i])
		most = max(most, len(lines[i]))
	}
	for n := range most {
		line := ""
		for i := range cells {
			cell := ""
			if n < len(lines[i]) {
				cell = lines[i][n]
			}
			line += cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
		}
		s.text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// warn prints what there is, and a line that is to be seen.
func (s *screen) warn(words string) error {
	text := ""
	for i, line := range wrap(command.Printable(words), width-6) {
		if i == 0 {
			text += "    ! " + line + "\n"
		} else {
			text += "      " + line + "\n"
		}
	}
	if w, ok := s.w.(terminal.Writer); ok {
		return errors.Join(s.flush(), w.Warn(text))
	}
	s.text.WriteString(text)
	return nil
}

// wrap breaks a text into lines of so many characters: at a space, or where a part of a path
// begins, when there is one.
func wrap(s string, most int) (lines []string) {
	for utf8.RuneCountInString(s) > most {
		runes := []rune(s)
		at := strings.LastIndexByte(string(runes[:most+1]), ' ')
		if at < most/3 {
			at = strings.LastIndexAny(string(runes[:most]), "/:,@")
		}
		if at < most/3 {
			at = len(string(runes[:most])) - 1
		}
		lines = append(lines, strings.TrimRight(s[:at+1], " "))
		s = strings.TrimLeft(s[at+1:], " ")
	}
	return append(lines, s)
}
