package volume

import (
	"log/slog"
	"os"
	"slices"
)

// purge destroys everything of ours in the folder. Where somebody removed our marker
// and another owner has come since, only what this Volume made is ours.
func (v *Volume) purge() error {
	v.sink.regain()
	v.warnMissing()
	return join(v.purgeDisplaced(), v.purgeNamed())
}

func (v *Volume) purgeNamed() error {
	other, displaced := v.successor()
	if !displaced {
		_, err := v.sink.purge("")
		return err
	}
	v.opts.Log.Warn("our marker was taken away, and another secretboot has the folder now: what it delivered stays",
		slog.String("dir", v.opts.Dir))
	made := slices.Clone(v.old)
	if !v.inherited {
		made = append(made, replaced{name: v.current})
	}
	var err error
	for _, g := range made {
		if g.name != "" && g.name != other.Generation && isOwnDir(v.sink.root, g.name) {
			err = join(err, v.sink.shredGeneration(g.name))
		}
	}
	return err
}

// successor gives the record of an owner who made a marker in the place of ours;
// false when there is none.
func (v *Volume) successor() (record, bool) {
	file, err := findMarker(v.sink.root, os.O_RDONLY)
	if err != nil {
		return record{}, false
	}
	defer file.Close()
	mine, err := v.marker.file.Stat()
	named, otherErr := file.Stat()
	if err != nil || otherErr != nil || os.SameFile(mine, named) {
		return record{}, false
	}
	rec, err := readRecord(file)
	return rec, err == nil && rec.State != ""
}
