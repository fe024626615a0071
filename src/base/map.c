/* Hash maps with open addressing, and the hash. */
#include "base/base.h"

static uint64_t mix(uint64_t a, uint64_t b)
{
    const unsigned __int128 p = (unsigned __int128)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static const uint64_t K0 = 0x9e3779b97f4a7c15u, K1 = 0xd6e8feb86659fd93u, K2 = 0xa0761d6478bd642fu;

uint64_t gi_hash(const void *data, size_t n, uint64_t seed)
{
    const uint8_t *p = data;
    uint64_t h = seed ^ mix((uint64_t)n ^ K0, K1), a = h, b = h ^ K2;
    while (n >= 32) {
        uint64_t w[4];
        memcpy(w, p, 32);
        a = mix(a ^ w[0], w[1] ^ K0);
        b = mix(b ^ w[2], w[3] ^ K1);
        p += 32;
        n -= 32;
    }
    uint64_t tail[4] = { 0 };
    if (n) /* p may be NULL where n is 0 */
        memcpy(tail, p, n);
    a = mix(a ^ tail[0], tail[1] ^ K1);
    b = mix(b ^ tail[2], tail[3] ^ K2);
    return mix(a ^ K0, b ^ K1);
}

static uint64_t spread(uint64_t key)
{
    return mix(key ^ K0, K1);
}

void gi_map_init(gi_map *m, gi_arena *a)
{
    *m = (gi_map){ .arena = a };
}

static size_t map_slot(const gi_map *m, uint64_t key)
{
    size_t i = (size_t)spread(key) & (m->cap - 1);
    while (m->values[i] && m->keys[i] != key)
        i = (i + 1) & (m->cap - 1);
    return i;
}

void *gi_map_get(const gi_map *m, uint64_t key)
{
    return m->cap ? m->values[map_slot(m, key)] : NULL;
}

static bool map_grow(gi_map *m)
{
    gi_map bigger = { .arena = m->arena, .n = m->n, .cap = m->cap ? 2 * m->cap : 16 };
    bigger.keys = GI_NEW_ARRAY(m->arena, uint64_t, bigger.cap);
    bigger.values = GI_NEW_ARRAY(m->arena, void *, bigger.cap);
    if (!bigger.keys || !bigger.values)
        return false;
    for (size_t i = 0; i < m->cap; i++) {
        if (!m->values[i])
            continue;
        const size_t s = map_slot(&bigger, m->keys[i]);
        bigger.keys[s] = m->keys[i];
        bigger.values[s] = m->values[i];
    }
    *m = bigger;
    return true;
}

bool gi_map_put(gi_map *m, uint64_t key, void *value)
{
    if (2 * (m->n + 1) > m->cap && !map_grow(m))
        return false;
    const size_t s = map_slot(m, key);
    m->n += !m->values[s];
    m->keys[s] = key;
    m->values[s] = value;
    return true;
}

void gi_smap_init(gi_smap *m, gi_arena *a)
{
    *m = (gi_smap){ .arena = a };
}

static size_t smap_slot(const gi_smap *m, const char *key, uint64_t hash)
{
    size_t i = (size_t)hash & (m->cap - 1);
    while (m->slots[i].key && (m->slots[i].hash != hash || strcmp(m->slots[i].key, key) != 0))
        i = (i + 1) & (m->cap - 1);
    return i;
}

void *gi_smap_get(const gi_smap *m, const char *key)
{
    return m->cap ? m->slots[smap_slot(m, key, gi_hash(key, strlen(key), 0))].value : NULL;
}

static bool smap_grow(gi_smap *m)
{
    gi_smap bigger = { .arena = m->arena, .n = m->n, .cap = m->cap ? 2 * m->cap : 16 };
    bigger.slots = GI_NEW_ARRAY(m->arena, gi_smap_slot, bigger.cap);
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key)
            bigger.slots[smap_slot(&bigger, m->slots[i].key, m->slots[i].hash)] = m->slots[i];
    *m = bigger;
    return true;
}

bool gi_smap_put(gi_smap *m, const char *key, void *value)
{
    if (2 * (m->n + 1) > m->cap && !smap_grow(m))
        return false;
    const uint64_t hash = gi_hash(key, strlen(key), 0);
    gi_smap_slot *s = &m->slots[smap_slot(m, key, hash)];
    if (!s->key) {
        s->key = gi_arena_str(m->arena, key);
        if (!s->key)
            return false;
        s->hash = hash;
        m->n++;
    }
    s->value = value;
    return true;
}
