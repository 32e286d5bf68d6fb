package inspection

import (
	"isula.org/isulad-tools/kmod"
	"isula.org/isulad-tools/resource"
)

// modules are those of the kernel that the container asks for.
type modules struct{}

func (modules) name() string { return "kernel module" }

func (modules) look(s *Subject) (views []resource.View, err error) {
	asked, err := kmod.Requested(s.Spec.Process.Env)
	if err == nil {
		var recorded []string
		recorded, err = kmod.Recorded(s.Doc)
		asked = append(asked, kmod.Without(recorded, asked)...)
	}
	if err != nil {
		v := resource.View{Name: "KERNEL_MODULES"}
		v.DifferForGood("record refused", "%v", err)
		return []resource.View{v}, nil
	}
	for _, name := range asked {
		v := resource.View{Name: name, Recorded: note(name)}
		if (kmod.Loader{}).Has(name) {
			v.Real = note("present")
		} else if s.Target != nil {
			v.Differ("module gone", "the kernel does not have the module %s any more", name)
		}
		views = append(views, v)
	}
	return views, nil
}

// plan plans nothing: modules are loaded before the container's lock is taken, see Modules.
func (modules) plan(*Subject, *resource.Change, []resource.View) error { return nil }

// Modules are the kernel modules that are to be loaded again.
func (r Report) Modules() (names []string) {
	for _, k := range r.Kinds {
		if k.Name != (modules{}).name() {
			continue
		}
		for _, v := range repairable(k.Resources) {
			names = append(names, v.Name)
		}
	}
	return names
}
