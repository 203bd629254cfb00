package upload

import (
	"errors"
	"hash"
	"hash/crc32"
)

// rehashAtOnce is how many files are read for their checksum at a time. Whoever has as
// many transfers as are allowed finishes them together: their files are read one after
// the other, and take neither the memory nor the processor from messages. A file that
// came in order needs no turn.
const rehashAtOnce = 2

// rehashPiece is how much of a file is read and hashed between two rests.
const rehashPiece = yieldPiece

// hash reads the pieces in order that have not been hashed as they came, and
// checks each.
func (s *Service) hash(t *transfer, plan []piece) (*checksum, error) {
	if t.data != nil && t.prefix.distrusted() {
		dropCache(t.data.File)
	}
	h, plan := t.prefix.begin(plan)
	if len(plan) > 0 {
		select {
		case s.rehashes <- struct{}{}:
			defer func() { <-s.rehashes }()
		case <-s.ending:
			return nil, errBusy
		}
		ease, buf := s.ease(), make([]byte, rehashPiece)
		for _, p := range plan {
			if err := s.rehash(h, t, p, buf, ease); err != nil {
				return nil, err
			}
		}
	}
	return (*checksum)(h.Sum(nil)), nil
}

// rehash reads one piece into a hash, which is of no use after an error. When the
// gateway ends, it does: the device sends fin again.
func (s *Service) rehash(h hash.Hash, t *transfer, p piece, buf []byte, ease *ease) error {
	crc := uint32(0)
	for done := int64(0); done < p.length; {
		select {
		case <-s.ending:
			return errBusy
		default:
		}
		b := buf[:min(int64(len(buf)), p.length-done)]
		if _, err := t.data.ReadAt(b, p.at+done); err != nil {
			return errors.Join(errReadSegment, err)
		}
		crc = crc32.Update(crc, castagnoli, b)
		_, _ = h.Write(b) // never fails
		done += int64(len(b))
		ease.took(len(b))
	}
	if crc != p.crc {
		return errReadSegment
	}
	return nil
}
