/* Recurrent networks: RNN, GRU and LSTM. The inputs of all steps are multiplied by W before; here a work-group takes one
 * sequence in one direction through all of its steps, its state in local memory, so that a step costs no launch.
 *
 * projected: [directions][rows of X][GATES * H]; r: element (gate row j, state k) of a direction at j * r_j + k * r_k;
 * bias: [directions][2 * GATES * H]. State d, b of Y_h at (d * h_d + b * h_b) * H, row t of X at t * x_t + b * x_b, of Y
 * at (t * y_t + d * y_d + b * y_b) * H. Before it: H, GATES (1, 3: GRU, 4: LSTM), CLIP(x), ACT0 to ACT2 (x, d), and, where
 * they are so, HAS_BIAS, HAS_LENGTHS, HAS_H, HAS_C, HAS_P, HAS_Y, HAS_YH, HAS_YC, LINEAR_BEFORE_RESET, INPUT_FORGET, LENGTH_TYPE. */
#define G 128
#define WIDTH (GATES * H)

__kernel __attribute__((reqd_work_group_size(G, 1, 1))) void
recurrent(__global const float *projected, const ulong projected_at, __global const float *r, const ulong r_at,
          __global const float *bias, const ulong bias_at, __global const LENGTH_TYPE *lengths, const ulong lengths_at,
          __global const float *h0, const ulong h0_at, __global const float *cell0, const ulong cell0_at,
          __global const float *peep, const ulong peep_at, __global float *y, const ulong y_at, __global float *yh,
          const ulong yh_at, __global float *yc, const ulong yc_at, const long steps, const long batch,
          const long r_j, const long r_k, const long x_t, const long x_b, const long y_t, const long y_d,
          const long y_b, const long h_d, const long h_b, const long reverse)
{
    __local float h[H], gate[WIDTH];
#if GATES == 4
    __local float cell[H];
#elif GATES == 3
    __local float part[H]; /* what the hidden gate is made of: the state, reset or multiplied */
#endif
    const int b = (int)(get_group_id(0) % batch), d = (int)(get_group_id(0) / batch), t = get_local_id(0);
    const bool backward = reverse != 0 || d == 1;
    const long state_at = (d * h_d + b * h_b) * H;
    long length = steps;
#if defined(HAS_LENGTHS)
    length = clamp((long)lengths[lengths_at + b], 0L, steps);
#endif
    projected += projected_at + (long)d * steps * batch * WIDTH;
    r += r_at + (long)d * WIDTH * H;
    for (int i = t; i < H; i += G) {
        h[i] = 0.0f;
#if defined(HAS_H)
        h[i] = h0[h0_at + state_at + i];
#endif
#if GATES == 4
        cell[i] = 0.0f;
#if defined(HAS_C)
        cell[i] = cell0[cell0_at + state_at + i];
#endif
#endif
    }
    for (long s = 0; s < length; s++) {
        const long now = backward ? length - 1 - s : s;
        __global const float *x = projected + (now * x_t + b * x_b) * WIDTH;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int j = t; j < WIDTH; j += G) {
            float sum = x[j], own = 0.0f;
#if defined(HAS_BIAS)
            sum += bias[bias_at + (long)d * 2 * WIDTH + j];
            own = bias[bias_at + (long)d * 2 * WIDTH + WIDTH + j];
#endif
#if GATES == 3
            if (j >= 2 * H) { /* the hidden gate's product comes after the reset gate, or is scaled by it */
#if defined(LINEAR_BEFORE_RESET)
                for (int k = 0; k < H; k++)
                    own += h[k] * r[j * r_j + k * r_k];
                part[j - 2 * H] = own;
                gate[j] = sum;
#else
                gate[j] = sum + own;
#endif
                continue;
            }
#endif
            sum += own;
            for (int k = 0; k < H; k++)
                sum += h[k] * r[j * r_j + k * r_k];
            gate[j] = sum;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
#if GATES == 3
        for (int i = t; i < H; i += G) {
            gate[i] = ACT0(CLIP(gate[i]), d);
            const float reset = ACT0(CLIP(gate[H + i]), d);
#if defined(LINEAR_BEFORE_RESET)
            gate[2 * H + i] += reset * part[i];
#else
            part[i] = reset * h[i];
#endif
        }
        barrier(CLK_LOCAL_MEM_FENCE);
#if !defined(LINEAR_BEFORE_RESET)
        for (int i = t; i < H; i += G) {
            float sum = gate[2 * H + i];
            for (int k = 0; k < H; k++)
                sum += part[k] * r[(2 * H + i) * r_j + k * r_k];
            gate[2 * H + i] = sum;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
#endif
#endif
        for (int i = t; i < H; i += G) {
#if GATES == 1
            const float next = ACT0(CLIP(gate[i]), d);
#elif GATES == 3
            const float z = gate[i], next = (1.0f - z) * ACT1(CLIP(gate[2 * H + i]), d) + z * h[i];
#else
            float in = gate[i], out = gate[H + i], forget = gate[2 * H + i];
#if defined(HAS_P)
            __global const float *p = peep + peep_at + (long)d * 3 * H;
            in += p[i] * cell[i];
            forget += p[2 * H + i] * cell[i];
#endif
            in = ACT0(CLIP(in), d);
#if defined(INPUT_FORGET)
            forget = 1.0f - in;
#else
            forget = ACT0(CLIP(forget), d);
#endif
            const float c = forget * cell[i] + in * ACT1(CLIP(gate[3 * H + i]), d);
#if defined(HAS_P)
            out += p[H + i] * c;
#endif
            cell[i] = c;
            const float next = ACT0(CLIP(out), d) * ACT2(CLIP(c), d);
#endif
            h[i] = next;
#if defined(HAS_Y)
            y[y_at + (now * y_t + d * y_d + b * y_b) * H + i] = next;
#endif
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = t; i < H; i += G) {
#if defined(HAS_Y)
        for (long s = length; s < steps; s++)
            y[y_at + (s * y_t + d * y_d + b * y_b) * H + i] = 0.0f;
#endif
#if defined(HAS_YH)
        yh[yh_at + state_at + i] = h[i];
#endif
#if defined(HAS_YC) && GATES == 4
        yc[yc_at + state_at + i] = cell[i];
#endif
    }
}
