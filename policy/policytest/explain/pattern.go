package explain

import "strings"

// arn is a resource taken apart: topic/a of arn:aws:iot:us-east-1:1:topic/a.
type arn struct {
	head string // what stands before the name, "" for a short form
	kind string // "topic/", or "" where there is no slash
	name string
}

func split(text string) arn {
	var a arn
	if fields := strings.SplitN(text, ":", 6); len(fields) == 6 && fields[0] == "arn" {
		a.head, text = strings.Join(fields[:5], ":"), fields[5]
	}
	if i := strings.IndexByte(text, '/'); i >= 0 {
		a.kind, a.name = text[:i+1], text[i+1:]
		return a
	}
	a.name = text
	return a
}

func (a arn) short() string { return Brief(a.kind + a.name) }

// glob compares as policies do: * is any text, ? one character. It goes back
// to the last * only, so that no pattern takes long.
func glob(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	i, j, star, mark := 0, 0, -1, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// filter compares as MQTT does: + is one level, # all levels from there.
func filter(f, topic string) bool {
	levels, have := strings.Split(f, "/"), strings.Split(topic, "/")
	for i, level := range levels {
		if level == "#" {
			return len(have) > i
		}
		if i >= len(have) || level != "+" && level != have[i] {
			return false
		}
	}
	return len(levels) == len(have)
}

// wild reports whether a text has MQTT's wildcards.
func wild(text string) bool { return strings.ContainsAny(text, "+#") }

// translated is an MQTT filter as a policy would say it.
func translated(f string) string {
	return strings.NewReplacer("+", "*", "#", "*").Replace(f)
}

// unshared is the filter behind $share/NAME/, and the name.
func unshared(f string) (rest, share string, ok bool) {
	rest, ok = strings.CutPrefix(f, "$share/")
	if !ok {
		return "", "", false
	}
	share, rest, ok = strings.Cut(rest, "/")
	return rest, share, ok
}

// fixed is a pattern up to its first wildcard of either kind.
func fixed(text string) string {
	if i := strings.IndexAny(text, "+#*?"); i >= 0 {
		return text[:i]
	}
	return text
}
