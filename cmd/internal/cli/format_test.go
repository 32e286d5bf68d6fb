package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"isula.org/isulad-tools/inspection"
	"isula.org/isulad-tools/resource"
)

type word string

func (w word) String() string { return string(w) }

func TestATextIsWrappedWhereItCanBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"short", "abc", []string{"abc"}},
		{"empty", "", []string{""}},
		{"at a space", "one two three", []string{"one two", "three"}},
		{"at a space that just fits", "one four three", []string{"one four", "three"}},
		{"in a path", "/srv/data/more/below", []string{"/srv/", "data/", "more/", "below"}},
		{"anywhere", "abcdefghijklmnop", []string{"abcdefgh", "ijklmnop"}},
		{"of several bytes a character", "äöüäöüäöüä", []string{"äöüäöüäö", "üä"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := wrap(c.text, 8)
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// A report has a hundred columns, whatever a container calls its things.
func TestAReportFitsAHundredColumns(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x/long\x1b[2J ", 40)
	v := resource.View{Name: long, Recorded: word(long), Real: word(long)}
	v.Differ("node missing", "%s", long)
	var out bytes.Buffer
	r := inspection.Report{Name: long, ID: long, Bundle: long, PID: 1, Kinds: []inspection.Kind{{Name: "network interface", Resources: []resource.View{v}}}}
	if err := (App{Stdout: &out}).showReport(r); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("it acts on a terminal: %q", out.String())
	}
}

func TestFormatsShowTheSame(t *testing.T) {
	t.Parallel()
	f := inspection.Finding{Container: "web", ID: "web", Kind: "path", Name: "/x", Difference: resource.Difference{What: "mount missing", Why: "because", Mends: true}}
	for _, c := range []struct{ format, want string }{
		{"table", "web: path /x: mount missing: because (repair mends it)\n"},
		{"json", "{\n\t\"container\": \"web\",\n\t\"id\": \"web\",\n\t\"kind\": \"path\",\n\t\"name\": \"/x\",\n\t\"what\": \"mount missing\",\n\t\"why\": \"because\",\n\t\"mends\": true\n}\n"},
		{"{{.Kind}} {{.What}} {{.Mends}}", "path mount missing true\n"},
	} {
		t.Run(c.format, func(t *testing.T) {
			var out bytes.Buffer
			show, err := formatOf(c.format, &out, lines[inspection.Finding](&out))
			if err == nil {
				err = show(f)
			}
			if err != nil || out.String() != c.want {
				t.Errorf("%v: %q, want %q", err, out.String(), c.want)
			}
		})
	}
	if _, err := formatOf("{{.Nothing", nil, func(int) error { return nil }); err == nil {
		t.Error("a broken template is taken")
	}
}
