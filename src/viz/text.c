/* The text of pictures: cut, made harmless, escaped, measured.
 *
 * Names come from the model and are hostile: what is no UTF-8, controls, or turns the direction of what follows becomes
 * a question mark. Escapes serve XML and graphviz' HTML-like labels alike. */
#include "viz/picture.h"

/* Does it turn the direction of what follows, break a line, or stand for nothing that can be seen? */
static bool is_invisible(uint32_t c)
{
    return c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xe0000 && c <= 0xe0fff);
}

/* Bytes of the UTF-8 character at p; 0 where it is none, or none to be drawn. */
static size_t character(const unsigned char *p)
{
    if (p[0] < 0x20 || p[0] == 0x7f)
        return 0;
    if (p[0] < 0x80)
        return 1;
    const size_t n = (p[0] >> 5) == 6 ? 2 : (p[0] >> 4) == 14 ? 3 : (p[0] >> 3) == 30 ? 4 : 0;
    if (!n)
        return 0;
    uint32_t c = p[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    static const uint32_t least[] = { 0, 0, 0xa0, 0x800,
                                      0x10000 }; /* overlong forms, and the control characters of C1 */
    const bool none = c < least[n] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff || (c & 0xfffe) == 0xfffe;
    return none || is_invisible(c) ? 0 : n;
}

static size_t count_characters(const char *text)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; n++) {
        const size_t k = character(p);
        p += k ? k : 1;
    }
    return n;
}

void gi_text_clip(gi_str *s, const char *text, size_t most)
{
    const size_t total = count_characters(text);
    const size_t head = total > most ? most / 3 : total, tail = total > most ? most - head - 1 : 0;
    size_t i = 0;
    for (const char *p = text; *p; i++) {
        const size_t n = character((const unsigned char *)p);
        if (i < head || i >= total - tail)
            gi_str_addn(s, n ? p : "?", n ? n : 1);
        else if (i == head)
            gi_str_add(s, "…");
        p += n ? n : 1;
    }
}

void gi_text_escape(gi_str *s, const char *text)
{
    static const struct {
        char c;
        const char *entity;
    } entities[] = {
        { '&', "&amp;" },  { '<', "&lt;" },  { '>', "&gt;" },
        { '"', "&quot;" }, { '[', "&#91;" }, /* graphviz 2.42 reads [ and ] well, but older ones end the label there */
        { ']', "&#93;" }
    };
    for (const char *p = text; *p; p++) {
        const char *entity = NULL;
        for (size_t i = 0; i < GI_COUNT(entities); i++)
            if (*p == entities[i].c)
                entity = entities[i].entity;
        gi_str_addn(s, entity ? entity : p, entity ? strlen(entity) : 1);
    }
}

/* Widths of Helvetica's characters from ' ' to '~', in thousandths of its size: from its font metrics. */
static const uint16_t helvetica[95] = {
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333,  278, 278, 556, 556, 556,
    556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667,
    611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667,  611, 722, 667, 944, 667,
    667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278,  556, 556, 222, 222, 500,
    222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500,  500, 334, 260, 334, 584,
};

double gi_text_width(const char *text, double size, bool bold)
{
    double w = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p >= 0x20 && *p < 0x7f)
            w += helvetica[*p - 0x20];
        else if ((*p & 0xc0) != 0x80) /* wide enough for an ideograph */
            w += *p >= 0xe3 ? 1000 : 600;
    }
    return w * size / 1000 * (bold ? 1.08 : 1);
}
