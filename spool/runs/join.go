package runs

import "bytes"

// Source is a sequence of entries whose keys ascend. What it returns is valid
// until Next.
type Source interface {
	Valid() bool
	Key() []byte
	Dead() bool                 // the key is deleted
	Value() (v []byte, ok bool) // not ok: it is damaged, which has been reported
	Next()
}

// Joined is several sources as one: of a key that more than one of them has,
// the first source decides.
type Joined struct {
	sources []Source
	at      int // whose entry it is, -1 at the end

	// skipped is told of each entry that is passed over for another's sake.
	skipped func(Source)
}

// Join joins sources, the newest first.
func Join(sources ...Source) *Joined {
	j := &Joined{sources: sources}
	j.choose()
	return j
}

// choose finds the least key.
func (j *Joined) choose() {
	j.at = -1
	for i, s := range j.sources {
		if s.Valid() && (j.at < 0 || bytes.Compare(s.Key(), j.sources[j.at].Key()) < 0) {
			j.at = i
		}
	}
}

// Valid implements [Source].
func (j *Joined) Valid() bool { return j.at >= 0 }

// Key implements [Source].
func (j *Joined) Key() []byte { return j.sources[j.at].Key() }

// Dead implements [Source].
func (j *Joined) Dead() bool { return j.sources[j.at].Dead() }

// Value implements [Source].
func (j *Joined) Value() ([]byte, bool) { return j.sources[j.at].Value() }

// Next implements [Source].
func (j *Joined) Next() {
	key := j.Key()
	for i, s := range j.sources {
		if i > j.at && s.Valid() && bytes.Equal(s.Key(), key) {
			if j.skipped != nil {
				j.skipped(s)
			}
			s.Next()
		}
	}
	j.sources[j.at].Next()
	j.choose()
}
