package scenario

import "testing"

type column struct{ world, kind string }
type columns map[column]map[string]string

func (c columns) compare(t *testing.T) {
	for k, v := range c {
		t.Log(k, v)
	}
}
