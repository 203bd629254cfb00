package rules

import (
	"hash/maphash"
	"sync"
	"time"
)

// SampleOptions thin out the messages of each topic.
type SampleOptions struct {
	OneIn int           `koanf:"one_in" min:"0" max:"1000000" doc:"Takes the first message of each topic and then every n-th, 0 to 1000000; 0 takes them all."`
	Every time.Duration `koanf:"every" doc:"Takes a message of a topic when the last one taken is as old as this, up to 24h; 0s takes them all."`
}

func (o SampleOptions) on() bool { return o != SampleOptions{} }

// Bounds of a sampler: topics that it tells apart. With more, some are forgotten,
// and then the next message of such a topic is taken.
const (
	sampleShards = 16
	shardTopics  = 4096
)

// sampler decides for each topic which of its messages are taken. It costs no
// disk: what it remembers begins anew with the table. It is safe for concurrent
// use.
type sampler struct {
	SampleOptions
	seed    maphash.Seed
	started time.Time
	shards  [sampleShards]sampleShard
}

type sampleShard struct {
	mu     sync.Mutex
	topics map[uint64]sampled
}

// sampled is what is remembered of a topic.
type sampled struct {
	count int           // messages since the last one that was taken
	taken time.Duration // when that was, since the start
}

func newSampler(o SampleOptions) *sampler {
	if !o.on() {
		return nil
	}
	s := &sampler{SampleOptions: o, seed: maphash.MakeSeed(), started: time.Now()}
	for i := range s.shards {
		s.shards[i].topics = map[uint64]sampled{}
	}
	return s
}

// take reports whether a message of the topic is one of the sample. The nil
// sampler takes all.
func (s *sampler) take(topic string) bool {
	if s == nil {
		return true
	}
	return s.at(topic, time.Since(s.started))
}

func (s *sampler) at(topic string, now time.Duration) bool {
	h := maphash.String(s.seed, topic)
	x := &s.shards[h%sampleShards]
	x.mu.Lock()
	defer x.mu.Unlock()
	last, known := x.topics[h]
	if !known && len(x.topics) >= shardTopics {
		clear(x.topics)
	}
	last.count++
	if known && (last.count < s.OneIn || now-last.taken < s.Every) {
		x.topics[h] = last
		return false
	}
	x.topics[h] = sampled{taken: now}
	return true
}
