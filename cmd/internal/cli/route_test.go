package cli

import (
	"slices"
	"testing"

	"isula.org/isulad-tools/network"
)

func TestRulesAreReadStrictly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`[{"DEST":"1.0.0.0/8","Dev":"eth1"}]`:   "[{dest:1.0.0.0/8,src:,gw:,dev:eth1}]",
		` [ {} , {"gw":" 1.2.3.4 "} ] `:         "[{dest:,src:,gw:,dev:} {dest:,src:,gw: 1.2.3.4 ,dev:}]",
		`[{"gw":"1.2.3.4","metric":"200"}]`:     "[{dest:,src:,gw:1.2.3.4,dev:,metric:200}]",
		`[{"gw":"1.2.3.4","Metric":200}]`:       "[{dest:,src:,gw:1.2.3.4,dev:,metric:200}]",
		`[{"gw":1}]`:                            "malformed rule format: rule 1: want string, found number",
		`[{"metric":null}]`:                     "malformed rule format: rule 1: metric: want string, found null",
		`[{"metric":[1]}]`:                      "malformed rule format: rule 1: want string, found array",
		`[]`:                                    "[]",
		``:                                      "rule can't be empty",
		`   `:                                   "rule can't be empty",
		`[{bad}]`:                               "malformed rule format: invalid character 'b' looking for beginning of object key string",
		`null`:                                  "malformed rule format: want array, found null",
		`{"gw":"1.2.3.4"}`:                      "malformed rule format: want array, found object",
		`[{"gw":"1.2.3.4"},null]`:               "malformed rule format: rule 2: want object, found null",
		`[[{"gw":"1.2.3.4"}]]`:                  "malformed rule format: rule 1: want object, found array",
		`[{"gw":null}]`:                         "malformed rule format: rule 1: gw: want string, found null",
		`[{"gw":["1.2.3.4"]}]`:                  "malformed rule format: rule 1: want string, found array",
		`[{"gateway":"1.2.3.4"}]`:               `malformed rule format: rule 1: unknown key "gateway"`,
		`[{"gw":"1.2.3.4","GW":"1.2.3.5"}]`:     "malformed rule format: rule 1: gw: given twice",
		`[{"gw":"1.2.3.4"}] [{"gw":"1.2.3.5"}]`: "malformed rule format: invalid character '[' after top-level value",
		`[{"gw":"1.2.3.4"`:                      "malformed rule format: it ends in the middle of its JSON",
	} {
		t.Run(text, func(t *testing.T) {
			rules, err := parseRules(text)
			got := "["
			for i, r := range rules {
				if i > 0 {
					got += " "
				}
				got += r.String()
			}
			got += "]"
			if err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("%s: %s, want %s", text, got, want)
			}
		})
	}
}

func TestNamesOfAnInterface(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][3]string{
		"eth1": {"", "eth1", ""}, "h1:eth1": {"h1", "eth1", ""}, "h1:": {"h1", "", ""}, "": {},
		"a:b:c": {"", "", `invalid nic name "a:b:c"`},
	} {
		t.Run(text, func(t *testing.T) {
			host, name, err := nicNames(text)
			got := [3]string{host, name}
			if err != nil {
				got[2] = err.Error()
			}
			if got != want {
				t.Errorf("%q: %q, want %q", text, got, want)
			}
		})
	}
}

func TestAnAddressCanBeNone(t *testing.T) {
	t.Parallel()
	for option, want := range map[string]string{"": "", "none": "", " none ": "", " 1.2.3.4/24": "1.2.3.4/24", "nothing": "nothing"} {
		t.Run(option, func(t *testing.T) {
			if got := address(option); got != want {
				t.Errorf("%q: %q, want %q", option, got, want)
			}
		})
	}
}

func TestAFilterIgnoresWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	filter, err := parseFilter[network.NIC](`{"mtu":1400,"TYPE":"eth","foo":[1]}`, "failed")
	if err != nil || filter != (network.NIC{MTU: 1400, Type: "eth"}) {
		t.Errorf("%+v %v", filter, err)
	}
	for _, text := range []string{"", "  ", "{}", "null"} {
		if filter, err := parseFilter[network.Route](text, "failed"); err != nil || filter != (network.Route{}) {
			t.Errorf("%q: %+v %v", text, filter, err)
		}
	}
}

func FuzzRules(f *testing.F) {
	f.Add(`[{"dest":"default","gw":"1.2.3.4"},{"DEV":"eth1"}]`)
	f.Add(`[null,{"gw":null}]`)
	f.Add(`[[{}]]`)
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := parseRules(text)
		if err != nil && slices.ContainsFunc(rules, func(r network.Route) bool { return r != network.Route{} }) {
			t.Errorf("%q: %v, and rules %v", text, err, rules)
		}
	})
}
