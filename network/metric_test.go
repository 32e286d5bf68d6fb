package network

import (
	"encoding/json"
	"testing"
)

func TestAMetricIsATextOrANumber(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, metric, saved string }{
		{`{"metric":"200"}`, "200", `{"dest":"","src":"","gw":"","dev":"","metric":"200"}`},
		{`{"metric":200}`, "200", `{"dest":"","src":"","gw":"","dev":"","metric":"200"}`},
		{`{"metric":" 7 "}`, " 7 ", `{"dest":"","src":"","gw":"","dev":"","metric":" 7 "}`},
		{`{"metric":null}`, "", `{"dest":"","src":"","gw":"","dev":""}`},
		{`{}`, "", `{"dest":"","src":"","gw":"","dev":""}`},
	} {
		t.Run(c.text, func(t *testing.T) {
			var r Route
			if err := json.Unmarshal([]byte(c.text), &r); err != nil || string(r.Metric) != c.metric {
				t.Errorf("%q, %v, want %q", r.Metric, err, c.metric)
			}
			if saved, err := json.Marshal(r); err != nil || string(saved) != c.saved {
				t.Errorf("saved %s, %v, want %s", saved, err, c.saved)
			}
		})
	}
	for _, text := range []string{`{"metric":[1]}`, `{"metric":{}}`, `{"metric":true}`} {
		if err := json.Unmarshal([]byte(text), new(Route)); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}

func TestMetricsAreComparedByValue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		r, other  Route
		same, has bool // they are one route; the first has what the other, as a filter, asks for
	}{
		{"two spellings", Route{GW: "1.2.3.4", Metric: "200"}, Route{GW: "1.2.3.4", Metric: " 0200"}, true, true},
		{"two metrics", Route{GW: "1.2.3.4", Metric: "200"}, Route{GW: "1.2.3.4", Metric: "100"}, false, false},
		{"a filter without", Route{GW: "1.2.3.4", Metric: "200"}, Route{GW: "1.2.3.4"}, false, true},
		{"IPv4 has 0 of itself", Route{GW: "1.2.3.4"}, Route{GW: "1.2.3.4", Metric: "0"}, true, true},
		{"IPv4 has not 1024", Route{GW: "1.2.3.4"}, Route{GW: "1.2.3.4", Metric: "1024"}, false, false},
		{"IPv6 has 1024 of itself", Route{GW: "fd00::1"}, Route{GW: "fd00::1", Metric: "1024"}, true, true},
		{"IPv6 makes 1024 of 0", Route{GW: "fd00::1", Metric: "0"}, Route{GW: "fd00::1", Metric: "1024"}, true, true},
		{"no number", Route{GW: "1.2.3.4", Metric: "many"}, Route{GW: "1.2.3.4", Metric: "many"}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.r.Same(c.other); got != c.same {
				t.Errorf("%s same as %s: %v", c.r, c.other, got)
			}
			if got := c.r.Matches(c.other); got != c.has {
				t.Errorf("%s matches %s: %v", c.r, c.other, got)
			}
		})
	}
}

func TestAMetricThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	for _, m := range []Metric{"-1", "4294967296", "1.5", "1e3", "many", "0x10"} {
		want := `failed to parse metric "` + string(m) + `" of route rule`
		if err := (Route{GW: "1.2.3.4", Metric: m}).Check(); err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := (Route{GW: "1.2.3.4", Metric: "4294967295"}).Check(); err != nil {
		t.Error(err)
	}
}
