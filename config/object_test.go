package config

import (
	"fmt"
	"testing"
)

func TestAnObjectIsSplitIntoTheTextsOfItsMembers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"nothing", " {\n} ", ""},
		{"compact", `{"a":[1,2],"b":3,"c":"x","d":null,"e":{"f":[]}}`, `a=[1,2] b=3 c="x" d=null e={"f":[]} `},
		{"with white space", " { \"a\" : [ 1 ,\n 2 ] ,\t\"b\" :  3 , \"c\": \" x \" , \"d\": null\n, \"e\" : { } } \n", "a=[ 1 ,\n 2 ] b=3 c=\" x \" d=null e={ } "},
		{"marks within texts", `{"a}\"":"]\\","b":["{\"",{"c":","}] , "\u0063":":"}`, `a}"="]\\" b=["{\"",{"c":","}] c=":" `},
		{"a number last", `{"a":-1.5e3}`, "a=-1.5e3 "},
		{"a key twice", `{"a":1,"a":2}`, "a=1 a=2 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			members, err := object([]byte(c.text))
			got := ""
			for _, m := range members {
				got += fmt.Sprintf("%s=%s ", m.key, m.value)
			}
			if got != c.want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestWhatIsNotAsMarshalledIsMadeSo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value, want string }{
		{"as marshalled", `["a",{"b":1}]`, `{"k":["a",{"b":1}]}`},
		{"white space", "[ 1,\r\n\t2 ]", `{"k":[1,2]}`},
		{"white space in a text only", `["a b"]`, `{"k":["a b"]}`},
		{"not escaped", `["<>&"]`, `{"k":["\u003c\u003e\u0026"]}`},
		{"separators of lines", "[\"\u2028\u2029\"]", `{"k":["\u2028\u2029"]}`},
		{"letters", "[\"é€\"]", `{"k":["é€"]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := marshal([]member{{"k", []byte(c.value)}})
			if string(got) != c.want || err != nil {
				t.Errorf("got %s, %v, want %s", got, err, c.want)
			}
		})
	}
}
