package config

import (
	"os"
	"path/filepath"
	"testing"
)

type named struct {
	Name string `json:"name"`
}

func TestPutKeepsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before string
		want   []named
		after  string
	}{
		{`{"kernelModules":[{"name":"a","x":1},{"name":"b"}],"y":{}}`, []named{{"b"}, {"c"}, {"a"}}, `{"kernelModules":[{"name":"b"},{"name":"c"},{"name":"a","x":1}],"y":{}}` + "\n"},
		{`{"kernelModules":[{"name":"a"}],"z":1}`, nil, `{"z":1}` + "\n"},
		{`{"z":1,"bindToAdd":["/a:/b:ro"]}`, []named{{"a"}}, `{"bindToAdd":["/a:/b:ro"],"kernelModules":[{"name":"a"}],"z":1}` + "\n"},
		{`{"kernelModules":[ {"name":"a", "x":1} ],"y":{}}`, []named{{"a"}, {"b"}, {"c"}}, `{"kernelModules":[{"name":"a","x":1},{"name":"b"},{"name":"c"}],"y":{}}` + "\n"},
		{`{"kernelModules":[ ]}`, []named{{"a"}}, `{"kernelModules":[{"name":"a"}]}` + "\n"},
		{`{"kernelModules": [ {"name":"a"} ] }`, []named{{"a"}}, `{"kernelModules": [ {"name":"a"} ] }`}, // not written
	} {
		t.Run(c.before, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, Name)
			if err := os.WriteFile(file, []byte(c.before), 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := Load(dir)
			if err == nil {
				err = Put(d, KernelModules, c.want)
			}
			if err == nil {
				err = d.Save()
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != c.after {
				t.Errorf("%s with %v becomes %s, %v, want %s", c.before, c.want, got, err, c.after)
			}
		})
	}
}
