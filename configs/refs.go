package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// references resolves what a value may refer to: "${NAME}" for an environment
// variable in any value, "$${" for "${" itself, and "file:path" for the content
// of a file where the value is a secret.
//
// Names of variables are upper-case, so that topic templates keep their
// ${topic}; elsewhere a lower-case reference is a mistake.
type references struct {
	dir string // what relative paths are relative to
	env map[string]string
}

type refFault struct{ code, text, remedy string }

var (
	reference = regexp.MustCompile(`\$?\$\{[^}]*\}?`)
	variable  = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)
)

// maxSecret bounds the file of a secret.
const maxSecret = 64 << 10

// expand replaces all references to variables. What a variable holds is not
// looked into again.
func (r references) expand(text string, template bool) (string, []refFault) {
	var faults []refFault
	out := reference.ReplaceAllStringFunc(text, func(ref string) string {
		if strings.HasPrefix(ref, "$$") {
			return ref[1:]
		}
		name, closed := strings.CutSuffix(ref[2:], "}")
		switch {
		case closed && variable.MatchString(name):
			v, ok := r.env[name]
			if !ok {
				faults = append(faults, refFault{codeEnvironment, "refers to ${" + name + "}, which is not set in the environment", "set " + name + ", or write the value itself"})
			}
			return v
		case template:
			return ref // ${topic} and its like are the route's to read
		case !closed:
			faults = append(faults, refFault{codeReference, "has a ${ without }", "close it, or write $${ for the two characters themselves"})
		default:
			faults = append(faults, refFault{codeReference, "has ${" + name + "}, which is not a name of an environment variable", "use capitals, digits and _ as in ${AWS_ENDPOINT}, or write $${ for the two characters themselves"})
		}
		return ref
	})
	return out, faults
}

// secret reads the file of a "file:" reference; another text is the secret
// itself. One line end at the file's end is not part of it.
func (r references) secret(text string) (string, *refFault) {
	name, ok := strings.CutPrefix(text, "file:")
	if !ok {
		return text, nil
	}
	path := absolute(r.dir, name)
	data, err := readFile(path)
	switch {
	case err != nil:
		return "", &refFault{codeSecretFile, "refers to a file that cannot be read: " + cause(err, path), "create it, or correct the path"}
	case len(data) > maxSecret:
		return "", &refFault{codeSecretFile, fmt.Sprintf("refers to %s, which is larger than %d bytes", path, maxSecret), "is it the right file?"}
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if s == "" {
		return "", &refFault{codeSecretFile, "refers to " + path + ", which is empty", "put the secret into it"}
	}
	return s, nil
}

// absolute resolves a path of the file against the folder of the file.
func absolute(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// cause is an error of the file system in a few words.
func cause(err error, path string) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path + " does not exist"
	case errors.Is(err, fs.ErrPermission):
		return path + " may not be read by this user"
	case errors.Is(err, syscall.EISDIR):
		return path + " is a directory"
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return path + ": " + pe.Err.Error()
	}
	return err.Error()
}
