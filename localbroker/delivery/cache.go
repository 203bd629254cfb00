package delivery

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Cache keeps chunks of the cloud's streams on disk, so many bytes of them, and of
// each stream what it consists of. What was not used for the longest time makes
// room. A chunk is a file with its checksum, in which its key counts too: one that
// is damaged, or was cut short by a loss of power, is fetched again.
//
//	cloud/ACCOUNT/STREAM/stream.json
//	cloud/ACCOUNT/STREAM/VERSION-EDITION/FILE-CHUNK
type Cache struct {
	dir string
	max int64

	missing func(n int64) int64 // see Cloud.Keep; nil: the disk is not looked at

	mu    sync.Mutex
	order list.List // of cached, the latest used first
	byKey map[chunkKey]*list.Element
	bytes int64
}

type cached struct {
	key    chunkKey
	size   int64
	marked time.Time // when its use was last written down
}

// OpenCache opens the cache of one account's streams below a folder; account is
// whatever tells it from others, such as the endpoint. Those of other accounts are
// removed. With an error there is a cache all the same: it keeps something as soon as it
// can.
func OpenCache(dir, account string, limit int64) (*Cache, error) {
	all := filepath.Join(dir, "cloud")
	hash := sha256.Sum256([]byte(account))
	c := &Cache{dir: filepath.Join(all, hex.EncodeToString(hash[:6])), max: limit, byKey: map[chunkKey]*list.Element{}}
	if err := os.MkdirAll(c.dir, 0o750); err != nil {
		return c, fmt.Errorf("make the cache of streams: %w", err)
	}
	others, err := os.ReadDir(all)
	if err != nil {
		return c, fmt.Errorf("read the cache of streams: %w", err)
	}
	for _, e := range others {
		if e.Name() != filepath.Base(c.dir) {
			if err := os.RemoveAll(filepath.Join(all, e.Name())); err != nil {
				return c, fmt.Errorf("remove the cache of another account: %w", err)
			}
		}
	}
	if err := c.load(); err != nil {
		return c, fmt.Errorf("read the cache of streams: %w", err)
	}
	return c, nil
}

// load finds what is there, the latest used first.
func (c *Cache) load() error {
	var found []cached
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == definitionFile {
			return err
		}
		info, err := d.Info()
		key, ok := c.parse(path)
		if err != nil || !ok { // unfinished
			return os.Remove(path)
		}
		found = append(found, cached{key, info.Size(), info.ModTime()})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b cached) int { return b.marked.Compare(a.marked) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range found {
		c.byKey[f.key] = c.order.PushBack(&f)
		c.bytes += f.size
	}
	c.evictLocked()
	return nil
}

func (c *Cache) path(k chunkKey) string {
	return filepath.Join(c.dir, k.stream, strconv.Itoa(k.version)+"-"+k.edition, fmt.Sprintf("%d-%d", k.file, k.number))
}

// parse is the inverse of path.
func (c *Cache) parse(path string) (k chunkKey, ok bool) {
	rest, err := filepath.Rel(c.dir, path)
	l := strings.Split(rest, string(filepath.Separator))
	if err != nil || len(l) != 3 {
		return k, false
	}
	k.stream = l[0]
	version, edition, _ := strings.Cut(l[1], "-")
	file, number, _ := strings.Cut(l[2], "-")
	var errs [3]error
	k.edition = edition
	k.version, errs[0] = strconv.Atoi(version)
	k.file, errs[1] = strconv.Atoi(file)
	k.number, errs[2] = strconv.ParseInt(number, 10, 64)
	return k, errors.Join(errs[:]...) == nil && c.path(k) == path
}

// sum is the checksum of a chunk under its key.
func (k chunkKey) sum(data []byte) []byte {
	text := fmt.Sprintf("%s %d %s %d %d", k.stream, k.version, k.edition, k.file, k.number)
	return binary.LittleEndian.AppendUint32(nil, crc32.Update(crc32.Checksum([]byte(text), castagnoli), castagnoli, data))
}

// markEvery is how often the use of a chunk is written down at most.
const markEvery = time.Minute

// use notes that a chunk was used, whether it was read from here or is in memory, and
// reports false when it is not here.
func (c *Cache) use(k chunkKey) bool {
	c.mu.Lock()
	e, ok := c.byKey[k]
	if !ok {
		c.mu.Unlock()
		return false
	}
	c.order.MoveToFront(e)
	f, now := e.Value.(*cached), time.Now()
	mark := now.Sub(f.marked) > markEvery
	if mark {
		f.marked = now
	}
	c.mu.Unlock()
	if mark {
		_ = os.Chtimes(c.path(k), now, now) // costs the chunk its place in the order, at most
	}
	return true
}

// get reads a chunk of that length, nil when it is not there or not whole.
func (c *Cache) get(k chunkKey, length int) []byte {
	if !c.use(k) {
		return nil
	}
	path := c.path(k)
	b, err := os.ReadFile(path)
	if err != nil || len(b) != length+4 || string(k.sum(b[:length])) != string(b[length:]) {
		c.remove(k)
		return nil
	}
	return b[:length:length]
}

// put keeps a chunk. It is not synced: the checksum tells.
func (c *Cache) put(k chunkKey, data []byte) error {
	if err := c.makeRoom(int64(len(data) + 4)); err != nil {
		return err
	}
	path := c.path(k)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), unfinishedPrefix)
	if err != nil {
		return err
	}
	_, err = f.Write(append(slices.Clone(data), k.sum(data)...))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.byKey[k]; !there {
		size := int64(len(data) + 4)
		c.byKey[k] = c.order.PushFront(&cached{k, size, time.Now()})
		c.bytes += size
	}
	c.evictLocked()
	return nil
}

// has reports whether a chunk is there, as far as is known without reading it.
func (c *Cache) has(k chunkKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.byKey[k]
	return ok
}

// size is how many bytes are kept.
func (c *Cache) size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

func (c *Cache) evictLocked() {
	for c.bytes > c.max {
		c.removeLocked(c.order.Back().Value.(*cached).key)
	}
}

func (c *Cache) remove(k chunkKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(k)
}

func (c *Cache) removeLocked(k chunkKey) {
	e, ok := c.byKey[k]
	if !ok {
		return
	}
	c.order.Remove(e)
	delete(c.byKey, k)
	c.bytes -= e.Value.(*cached).size
	_ = os.Remove(c.path(k))               // what stays is found, and evicted, after the next start
	_ = os.Remove(filepath.Dir(c.path(k))) // fails while others are in it
}

// drop removes all of a stream but one edition, of which nil has none.
func (c *Cache) drop(stream string, but *Stream) {
	keep := ""
	if but != nil {
		keep = but.edition()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var old []chunkKey
	for k := range c.byKey {
		if k.stream == stream && k.edition != keep {
			old = append(old, k)
		}
	}
	for _, k := range old {
		c.removeLocked(k)
	}
}

// remember writes down what a stream consists of, for the time when the cloud is
// away; nil forgets it.
func (c *Cache) remember(id string, s *Stream) error {
	folder := filepath.Join(c.dir, id)
	if s == nil {
		return os.RemoveAll(filepath.Join(folder, definitionFile))
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	return writeWhole(filepath.Join(folder, definitionFile), b)
}

// recall is what was remembered of a stream, nil when nothing was.
func (c *Cache) recall(id string) *Stream {
	b, err := os.ReadFile(filepath.Join(c.dir, id, definitionFile))
	s := new(Stream)
	if err != nil || json.Unmarshal(b, s) != nil || s.ID != id {
		return nil
	}
	return s
}
