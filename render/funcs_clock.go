package render

import (
	"maps"
	"time"

	"github.com/Masterminds/sprig/v3"
)

// sprigText is sprig's text map without the functions that see the environment
// or the network.
func sprigText() map[string]any {
	all := sprig.TxtFuncMap()
	maps.DeleteFunc(all, func(name string, _ any) bool {
		return name == "env" || name == "expandenv" || name == "getHostByName"
	})
	return all
}

// clockFunctions are sprig's functions of the clock and of chance, which
// consul-template leaves out. What the original makes of a bad argument, such as
// the time of now for a text, is an error; the time zone of date is UTC, as in a
// container that nobody has set another one for.
func clockFunctions() []*function {
	const html = "2006-01-02"
	list := []*function{
		{name: "now", fn: func(r *run) time.Time { return r.now() }},
		{name: "date", fn: func(layout string, date any) (string, error) { return formatDate(layout, date, "UTC") }},
		{name: "htmlDate", fn: func(date any) (string, error) { return formatDate(html, date, "UTC") }},
		{name: "htmlDateInZone", fn: func(date any, zone string) (string, error) { return formatDate(html, date, zone) }},
		{name: "dateInZone", fn: formatDate},
		{name: "date_in_zone", fn: formatDate},
		{name: "date_modify", fn: modifyDate},
		{name: "dateModify", fn: modifyDate},
	}
	for _, f := range list {
		f.numbers = true
	}
	theirs := sprigText()
	chance := func(name string, guard func([]any) int) {
		list = append(list, &function{name: name, fn: theirs[name], deep: true, varies: true, guard: guard, vet: vetCount})
	}
	for _, name := range []string{"randAlphaNum", "randAlpha", "randAscii", "randNumeric", "randBytes"} {
		chance(name, guardChance)
	}
	return append(list, &function{name: "uuidv4", fn: theirs["uuidv4"], deep: true, varies: true})
}

// guardChance counts a step for each random character.
func guardChance(args []any) int { return times(max(whole(args[0]), 0), 1<<6) }

func vetCount(args []any) error {
	if whole(args[0]) < 0 {
		return badData("the number of characters is negative", "")
	}
	return nil
}

// formatDate writes a time, or a number of seconds since 1970, in a time zone.
func formatDate(layout string, date any, zone string) (string, error) {
	t, err := timeOf(date)
	if err != nil {
		return "", err
	}
	place, err := time.LoadLocation(zone)
	if err != nil {
		return "", badData("this time zone is not known here", "use UTC")
	}
	return t.In(place).Format(layout), nil
}

func modifyDate(text string, date time.Time) (time.Time, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return time.Time{}, badData("the value is not a duration", "")
	}
	return date.Add(d), nil
}

// timeOf reads a time, or a number of seconds since 1970.
func timeOf(date any) (time.Time, error) {
	switch d := date.(type) {
	case time.Time:
		return d, nil
	case int:
		return time.Unix(int64(d), 0), nil
	case int64:
		return time.Unix(d, 0), nil
	}
	return time.Time{}, badData("a time or a whole number of seconds since 1970 is wanted", "toDate makes a time of text")
}
