package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// device is a record as a kind would have it.
type device struct {
	Type              string
	Minor, Major      int64
	PathOnHost        string
	PathInContainer   string
	CgroupPermissions string
	Parent            string
}

// write puts content into the resource file of a new state directory.
func write(t testing.TB, content string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, Name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func load(t testing.TB, dir string) *Document {
	t.Helper()
	d, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// rewrite loads content, marks it as changed, and returns what Save makes of it.
func rewrite(t testing.TB, content string) string {
	t.Helper()
	dir := write(t, content)
	d := load(t, dir)
	d.dirty = true
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	return read(t, dir)
}

func read(t testing.TB, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, Name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestNoFileMeansNothingRecorded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := load(t, dir)
	for _, key := range keyOrder {
		if n := count(t, d, key); n != 0 {
			t.Errorf("%s: %d records", key, n)
		}
	}
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, Name)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("saving nothing made a file: %v", err)
	}
}

func TestLoadAcceptsWhatTheOldToolWrites(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty object":      `{}`,
		"white space":       " \n{ }\t\n",
		"empty lists":       `{"bindToAdd":[],"deviceToAdd":[]}`,
		"null lists":        `{"bindToAdd":null,"networkRoute":null}`,
		"an unknown key":    `{"futureField":{"a":[null]}}`,
		"an unknown null":   `{"futureField":null}`,
		"the same key anew": `{"bindToAdd":["/a:/b:rw"],"bindToAdd":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			d := load(t, write(t, content))
			for _, key := range keyOrder {
				if n := count(t, d, key); n != 0 {
					t.Errorf("%s: %d records at %s", name, n, key)
				}
			}
		})
	}
}

func TestOfTwoListsUnderOneKeyTheLastCounts(t *testing.T) {
	t.Parallel()
	// encoding/json, and so the old tool, reads it like that.
	d := load(t, write(t, `{"bindToAdd":["/a:/b:rw","/c:/d:rw"],"bindToAdd":["/e:/f:rw"]}`))
	got, err := List[string](d, Binds)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/e:/f:rw"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAKnownKeyInAnotherCaseIsThatKey(t *testing.T) {
	t.Parallel()
	// The old tool finds it (encoding/json compares without case). Whoever does
	// not would start the container without what is recorded for it.
	for _, key := range []string{"devicetoadd", "DeviceToAdd", "DEVICETOADD"} {
		d, err := Load(write(t, `{"`+key+`":[{"Type":"c"}]}`))
		if err != nil {
			continue // to refuse it would be fine too
		}
		if n := count(t, d, Devices); n != 1 {
			t.Errorf("%s: %d records of %s, want 1", key, n, Devices)
		}
	}
}

func TestABrokenFileIsRefusedByNameAndPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, content, want string }{
		{"empty", "", "empty file"},
		{"blank", " \n\t", "empty file"},
		{"null", "null", "not a JSON object"},
		{"an array", `[{"bindToAdd":[]}]`, "not a JSON object"},
		{"a string", `"{}"`, "not a JSON object"},
		{"a number", `1e400`, ""},
		{"cut off in a key", `{"bindToA`, "middle"},
		{"cut off in a list", `{"bindToAdd":["/a:/b:rw"`, "middle"},
		{"cut off after a list", `{"bindToAdd":[]`, "middle"},
		{"cut off after a comma", `{"bindToAdd":[],`, "middle"},
		{"not JSON", `{not json`, "invalid character 'n'"},
		{"a trailing comma", `{"bindToAdd":[],}`, "invalid character"},
		{"no comma", `{"a":1 "b":2}`, "invalid character"},
		{"two objects", `{}{}`, "after top-level value"},
		{"trailing text", `{} x`, ""},
		{"a trailing NUL", "{}\x00", ""},
		{"a byte order mark", "\ufeff{}", "invalid character"},
		{"a list that is an object", `{"deviceToAdd":{}}`, "deviceToAdd: not a list"},
		{"a list that is a string", `{"bindToAdd":"/a:/b:rw"}`, "bindToAdd: not a list"},
		{"a list that is a number", `{"networkRoute":0}`, "networkRoute: not a list"},
		{"deep nesting", `{"futureField":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "exceeded max depth"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := write(t, c.content)
			d, err := Load(dir)
			if err == nil {
				t.Errorf("%s: loaded, as %v", c.name, d.lists)
				return
			}
			if msg := err.Error(); !strings.HasPrefix(msg, filepath.Join(dir, Name)+": ") || !strings.Contains(msg, c.want) {
				t.Errorf("%s: %q, want it to name the file and say %q", c.name, msg, c.want)
			}
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%s: more than a line: %q", c.name, err)
			}
			if got := read(t, dir); got != c.content {
				t.Errorf("%s: loading changed the file to %q", c.name, got)
			}
		})
	}
}

func TestTheFileIsReadUpToItsBound(t *testing.T) {
	t.Parallel()
	const frame = len(`{"future":""}`)
	fill := func(size int) string { return `{"future":"` + strings.Repeat("x", size-frame) + `"}` }
	if _, err := Load(write(t, fill(maxSize))); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	_, err := Load(write(t, fill(maxSize+1)))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(maxSize)) {
		t.Errorf("above the bound: %v, want an error that names %d", err, maxSize)
	}
}

func TestAFileThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, Name), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, Name)) {
		t.Errorf("a directory: %v, want an error that names it", err)
	}
}

func TestWhatIsNotKnownSurvivesByteForByte(t *testing.T) {
	t.Parallel()
	const unknown = `"futureNumber":18446744073709551615,"futureFloat":1e400,"futureSmall":-0.10E-05,` +
		`"futureNull":null,"futureList":[1,{"b":2,"a":1,"a":3}],"futureText":"\u00e9é\/\ud83d\ude00","":true,"twice":1,"twice":2`
	got := rewrite(t, `{`+unknown+`,"bindToAdd":["/a:/b:rw"]}`)
	if want := `{"bindToAdd":["/a:/b:rw"],` + unknown + "}\n"; got != want {
		t.Errorf("rewritten as\n%swant\n%s", got, want)
	}
}

func TestACloneChangesByItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, Name), []byte(`{"bindToAdd":["/a:/a"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := Put(d.Clone(), Binds, []string{"/b:/b"}); err != nil {
		t.Fatal(err)
	}
	if got, err := List[string](d, Binds); err != nil || len(got) != 1 || got[0] != "/a:/a" {
		t.Errorf("after its clone was changed: %q, %v, want what was read", got, err)
	}
	if d.dirty {
		t.Error("it is to be saved, for its clone was changed")
	}
}

func TestListsAreWrittenInTheOrderOfTheFormat(t *testing.T) {
	t.Parallel()
	var in []string
	for _, key := range keyOrder {
		in = append([]string{`"` + key + `":[{"k":"` + key + `"}]`}, in...)
	}
	got := rewrite(t, `{"last":1,`+strings.Join(in, ",")+`}`)
	slices.Reverse(in)
	if want := `{` + strings.Join(in, ",") + `,"last":1}` + "\n"; got != want {
		t.Errorf("rewritten as\n%swant\n%s", got, want)
	}
	// The names that the old tool's files have, and then the others.
	if want := "bindToAdd deviceToAdd readIops writeIops readBps writeBps blkioWeight networkInterfaces networkRoute kernelModules optionalPaths diskPartitions deviceSelectors selectedDevices"; strings.Join(keyOrder, " ") != want {
		t.Errorf("the lists are %s, want %s", keyOrder, want)
	}
}

func TestRecordsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	var in []string
	for i := range 300 {
		in = append(in, fmt.Sprintf("/h%d:/c%d:rw", i*7919%300, i))
	}
	list, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	dir := write(t, `{"bindToAdd":`+string(list)+`}`)
	d := load(t, dir)
	d.dirty = true
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	got, err := List[string](load(t, dir), Binds)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, got); diff != "" {
		t.Errorf("(-before +after)\n%s", diff)
	}
}

func TestEmptyListsAreOmittedAndNothingIsAnEmptyObject(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{}`:                                   "{}\n",
		`{"bindToAdd":[],"networkRoute":null}`: "{}\n",
		`{"bindToAdd":[],"futureList":[]}`:     `{"futureList":[]}` + "\n",
	} {
		t.Run(in, func(t *testing.T) {
			if got := rewrite(t, in); got != want {
				t.Errorf("%s is rewritten as %q, want %q", in, got, want)
			}
		})
	}
}

func TestMarkupIsEscapedAndReadBackAsItWas(t *testing.T) {
	t.Parallel()
	const bind = "/a&b:/<c>:rw"
	const line = "\u2028\u2029"
	got := rewrite(t, `{"bindToAdd":["`+bind+`"],"a<b":"&`+line+`"}`)
	if want := `{"bindToAdd":["/a\u0026b:/\u003cc\u003e:rw"],"a\u003cb":"\u0026\u2028\u2029"}` + "\n"; got != want {
		t.Errorf("written as %q, want %q", got, want)
	}
	list, err := List[string](load(t, write(t, got)), Binds)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0] != bind {
		t.Errorf("read back as %q, want %q", list, bind)
	}
	if again := rewrite(t, got); again != got {
		t.Errorf("rewritten once more as %q, was %q", again, got)
	}
}

func TestListNamesTheRecordAndTheField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ record, want string }{
		{`{"Major":"8"}`, "deviceToAdd[1].Major"},
		{`{"Major":8.5}`, "deviceToAdd[1].Major"},
		{`{"Minor":1e400}`, "deviceToAdd[1].Minor"},
		{`{"Minor":9223372036854775808}`, "deviceToAdd[1].Minor"},
		{`{"PathOnHost":7}`, "deviceToAdd[1].PathOnHost"},
		{`{"PathOnHost":["/dev/sda"]}`, "deviceToAdd[1].PathOnHost"},
		{`"/dev/sda"`, "deviceToAdd[1]:"},
		{`[]`, "deviceToAdd[1]:"},
		{`true`, "deviceToAdd[1]:"},
	} {
		t.Run(c.record, func(t *testing.T) {
			dir := write(t, `{"deviceToAdd":[{"Type":"c"},`+c.record+`]}`)
			_, err := List[device](load(t, dir), Devices)
			if err == nil {
				t.Errorf("%s: no error", c.record)
				return
			}
			if !strings.HasPrefix(err.Error(), filepath.Join(dir, Name)+": "+c.want) {
				t.Errorf("%s: %q, want it to begin with the file and %s", c.record, err, c.want)
			}
			if strings.Contains(err.Error(), "struct") {
				t.Errorf("%s: %q speaks of Go, not of JSON", c.record, err)
			}
		})
	}
}

func TestANullRecordIsRefusedByName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ list, want string }{
		{`[null]`, "deviceToAdd[0]: null"},
		{` [ {} , null ] `, "deviceToAdd[1]: null"},
		{`[{"Parent":null},{"Parent":"null"},null,null]`, "deviceToAdd[2]: null"},
	} {
		t.Run(c.list, func(t *testing.T) {
			dir := write(t, `{"deviceToAdd":`+c.list+`}`)
			d, err := Load(dir)
			if err == nil { // then who uses the list is told
				if !d.Has(Devices) {
					t.Errorf("%s: taken for an empty list", c.list)
				}
				_, err = List[device](d, Devices)
			}
			if want := filepath.Join(dir, Name) + ": " + c.want; err == nil || err.Error() != want {
				t.Errorf("%s: %v, want %s", c.list, err, want)
			}
		})
	}
	if _, err := List[device](load(t, write(t, `{"deviceToAdd":[{"Parent":null},{"PathOnHost":"/dev/null"}]}`)), Devices); err != nil {
		t.Errorf("null in a record: %v", err)
	}
}

func TestAListOfAnythingIsNotEmpty(t *testing.T) {
	t.Parallel()
	// A list that is taken for empty is not served, and not written again.
	for list, want := range map[string]bool{
		`[]`: false, `[ ]`: false, "[\n\t]": false, `null`: false,
		`[[]]`: true, `[[[]]]`: true, `[ [ ] ]`: true, `[{}]`: true, `[""]`: true, `["[]"]`: true, `[0]`: true, `[[],[]]`: true,
	} {
		t.Run(list, func(t *testing.T) {
			content := `{"networkRoute":` + list + `}`
			if got := load(t, write(t, content)).Has(NetRoutes); got != want {
				t.Errorf("%s: %v, want %v", list, got, want)
			}
			if got := rewrite(t, content); strings.Contains(got, "networkRoute") != want {
				t.Errorf("%s is rewritten as %s", list, got)
			}
		})
	}
}

func TestListIgnoresFieldsThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	got, err := List[device](load(t, write(t, `{"deviceToAdd":[{"Type":"c","Future":1e400,"Parent":null}]}`)), Devices)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]device{{Type: "c"}}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestReplaceKeepsTheFieldsThatTheRecordTypeLacks(t *testing.T) {
	t.Parallel()
	dir := write(t, `{"deviceToAdd":[{"Future":18446744073709551615,"Type":"c","Major":1,"Minor":2,"Label":{"x":1e400}},{"Type":"c"}]}`)
	d := load(t, dir)
	if err := Replace(d, Devices, map[int]device{0: {Type: "c", Major: 10, Minor: 200, PathOnHost: "/dev/a&b"}}); err != nil {
		t.Fatal(err)
	}
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	want := `{"deviceToAdd":[{"Type":"c","Minor":200,"Major":10,"PathOnHost":"/dev/a\u0026b","PathInContainer":"","CgroupPermissions":"","Parent":"",` +
		`"Future":18446744073709551615,"Label":{"x":1e400}},{"Type":"c"}]}` + "\n"
	if got := read(t, dir); got != want {
		t.Errorf("saved\n%swant\n%s", got, want)
	}
}

func TestReplaceReplacesFieldsInAnyCase(t *testing.T) {
	t.Parallel()
	// Both tools read fields without case. A field that stays beside its
	// replacement is read last, and the old value wins.
	dir := write(t, `{"deviceToAdd":[{"type":"c","MAJOR":1,"minor":2,"pathOnHost":"/dev/x"}]}`)
	d := load(t, dir)
	want := device{Type: "c", Major: 10, Minor: 200, PathOnHost: "/dev/x"}
	if err := Replace(d, Devices, map[int]device{0: want}); err != nil {
		t.Fatal(err)
	}
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	got, err := List[device](load(t, dir), Devices)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]device{want}, got); diff != "" {
		t.Errorf("after Replace and Save (-want +got)\n%s", diff)
	}
}

func TestReplaceOfARecordThatIsTextHasNothingToKeep(t *testing.T) {
	t.Parallel()
	dir := write(t, `{"bindToAdd":["/a:/b:rw","/c:/d:rw"]}`)
	d := load(t, dir)
	if err := Replace(d, Binds, map[int]string{1: "/c:/e:ro"}); err != nil {
		t.Fatal(err)
	}
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, dir), `{"bindToAdd":["/a:/b:rw","/c:/e:ro"]}`+"\n"; got != want {
		t.Errorf("saved %q, want %q", got, want)
	}
}

func TestSaveWritesOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	const content = " {\"bindToAdd\" : [\"/a:/b:rw\"] }\n\n"
	dir := write(t, content)
	before, err := os.Stat(filepath.Join(dir, Name))
	if err != nil {
		t.Fatal(err)
	}
	d := load(t, dir)
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(dir, Name))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) || read(t, dir) != content {
		t.Errorf("an unchanged document was written: %q", read(t, dir))
	}

	if err := Replace(d, Binds, map[int]string{0: "/a:/c:rw"}); err != nil {
		t.Fatal(err)
	}
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	changed, err := os.Stat(filepath.Join(dir, Name))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	again, err := os.Stat(filepath.Join(dir, Name))
	if err != nil {
		t.Fatal(err)
	}
	if os.SameFile(before, changed) {
		t.Error("a changed document was written in place, not renamed")
	}
	if !os.SameFile(changed, again) {
		t.Error("a saved document was written once more")
	}
	if mode := changed.Mode(); mode != 0o600 {
		t.Errorf("mode %v, want 0600", mode)
	}
}

func TestSaveThatFailsSaysWhereAndKeepsTheChange(t *testing.T) {
	t.Parallel()
	dir := write(t, `{"bindToAdd":["/a:/b:rw"]}`)
	d := load(t, dir)
	if err := Replace(d, Binds, map[int]string{0: "/a:/c:rw"}); err != nil {
		t.Fatal(err)
	}
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	if err := d.Save(); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, Name)) {
		t.Errorf("without its directory: %v, want an error that names the file", err)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, dir), `{"bindToAdd":["/a:/c:rw"]}`+"\n"; got != want {
		t.Errorf("the second Save wrote %q, want %q", got, want)
	}
}

func TestSweepRemovesWhatAKilledSaveLeft(t *testing.T) {
	t.Parallel()
	dir := write(t, `{}`)
	left := filepath.Join(dir, "."+Name+".new")
	if err := os.WriteFile(left, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // also when there is nothing
		if err := Sweep(dir); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != Name {
		t.Errorf("left: %v", entries)
	}
}

// count is the number of records at key, by both ways to ask.
func count(t *testing.T, d *Document, key string) int {
	t.Helper()
	list, err := List[any](d, key)
	if err != nil {
		t.Fatal(err)
	}
	if d.Has(key) != (len(list) > 0) {
		t.Errorf("%s: Has says %v of %d", key, d.Has(key), len(list))
	}
	return len(list)
}
