/* Signal operators: transforms against what their sum says, answers known by hand, symbolic shapes, what is refused. */
#include <math.h>

#include "ops/fft.h"
#include "unit/gir.h"

/* The sum itself, at one place. */
static void transform_at(const double *x, int64_t n, bool inverse, int64_t k, double *re, double *im)
{
    *re = *im = 0;
    for (int64_t j = 0; j < n; j++) {
        const double angle = (inverse ? 2 : -2) * acos(-1) * (double)(j * k % n) / (double)n;
        *re += x[2 * j] * cos(angle) - x[2 * j + 1] * sin(angle);
        *im += x[2 * j] * sin(angle) + x[2 * j + 1] * cos(angle);
    }
}

/* Every length up to 70, and larger ones: powers, products of small and of large primes, a prime. */
static void transforms_any_length(void **state)
{
    (void)state;
    static const int64_t large[] = { 97, 128, 400, 512, 961, 1009, 1024, 2294, 3600 };
    for (int64_t i = 1; i < 70 + (int64_t)GI_COUNT(large); i++)
        for (int inverse = 0; inverse < 2; inverse++) {
            const int64_t n = i < 70 ? i : large[i - 70];
            gi_arena *a = gi_arena_create(cx);
            gi_fft *f = gi_fft_create(a, n, inverse);
            double *x = GI_NEW_ARRAY(a, double, 2 * n), *y = GI_NEW_ARRAY(a, double, 2 * n);
            assert_true(f && x && y);
            for (int64_t k = 0; k < 2 * n; k++)
                x[k] = y[k] = (double)((k * 7919 + 13) % 101) / 50 - 1;
            gi_fft_run(f, y);
            for (int64_t k = 0; k < n; k += n < 100 ? 1 : 37) {
                double re, im;
                transform_at(x, n, inverse, k, &re, &im);
                assert_true(fabs(re - y[2 * k]) < 1e-12 * (double)n && fabs(im - y[2 * k + 1]) < 1e-12 * (double)n);
            }
            gi_arena_destroy(a);
        }
}

#define COUNT_4 "dense<f32[1,4,1], [1,2,3,4]>"

static void transforms(void **state)
{
    (void)state;
    evaluates("%y = DFT " COUNT_4, "1x4x2: 10 0 -2 2 -2 0 -2 -2");
    evaluates("%y = DFT " COUNT_4 " { onesided = 1 }", "1x3x2: 10 0 -2 2 -2 0");
    evaluates("%y = DFT dense<f32[1,4,2], [10,0,-2,2,-2,0,-2,-2]> { inverse = 1 }", "1x4x2: 1 0 2 0 3 0 4 0");
    evaluates("%y = DFT dense<f32[1,3,2], [10,0,-2,2,-2,0]> { inverse = 1, onesided = 1 }", "1x4x1: 1 2 3 4");
    /* An odd length is told by dft_length alone. */
    evaluates("%s = DFT dense<f32[5,1], [1,2,3,4,5]> { onesided = 1 }\n"
              "%y = DFT %s, dense<i64[], [5]> { inverse = 1, onesided = 1 }",
              "5x1: 1 2 3 4 5");
    /* Zeros behind the end, or a part of the signal; along the first axis. */
    evaluates("%y = DFT dense<f32[1,2,1], [1,2]>, dense<i64[], [4]>", "1x4x2: 3 0 1 -2 -1 0 1 2");
    evaluates("%y = DFT " COUNT_4 ", dense<i32[], [2]>", "1x2x2: 3 0 -1 0");
    evaluates("%y = DFT dense<f64[2,2,1], [1,2,3,4]>, _, dense<i64[], [0]>", "2x2x2: 4 0 6 0 -2 0 -2 0");
    evaluates("%y = DFT dense<f16[1,1,2], [3,4]>", "1x1x2: 3 4");
    evaluates("%y = DFT dense<f32[0,4,1], []>", "0x4x2:");
    infers("%x: f32[b,n,1]", "%y = DFT %x { onesided = 1 }", "f32[b,n/2+1,2]");
    infers("%x: f32[b,n,2]", "%y = DFT %x { onesided = 1, inverse = 1 }", "f32[b,2*n-2,1]");
    infers("%x: f32[b,n,2], %a: i64[]", "%y = DFT %x, _, %a", "f32[?2,?3,2]");
}

static void refuses_transforms(void **state)
{
    (void)state;
    infer_refuses("%x: f32[b,n,3]", "%y = DFT %x", "expected a last dimension of 1 (real) or 2");
    infer_refuses("%x: f32[b,n,2]", "%y = DFT %x { onesided = 1 }", "expected a last dimension of 1");
    infer_refuses("%x: f32[b,n,1]", "%y = DFT %x, _, dense<i64[], [2]>", "axis 2 is none of the 2");
    eval_refuses("%y = DFT " COUNT_4 ", _, dense<i64[], [-1]>", "none of the 2 axes");
    eval_refuses("%y = DFT " COUNT_4 ", dense<i64[], [0]>", "expected at least 1");
    eval_refuses("%y = DFT dense<f32[1,1,2], [1,2]> { onesided = 1, inverse = 1 }", "would have none");
    eval_refuses("%y = DFT dense<f32[1], [1]>", "expected at least 2");
}

static void cuts_frames(void **state)
{
    (void)state;
    evaluates("%y = STFT dense<f32[1,6,1], [1,2,3,4,5,6]>, dense<i64[], [2]>, _, dense<i64[], [2]>",
              "1x3x2x2: 3 0 -1 0 7 0 -1 0 11 0 -1 0");
    /* The window says how long a frame is; the last samples make no frame. */
    evaluates("%y = STFT dense<f32[1,5], [1,2,3,4,5]>, dense<i64[], [2]>, dense<f32[2], [1,10]>",
              "1x2x2x2: 21 0 -19 0 43 0 -37 0");
    evaluates("%y = STFT dense<f32[1,2,2], [1,2,3,4]>, dense<i64[], [1]>, _, dense<i64[], [2]> { onesided = 0 }",
              "1x1x2x2: 4 6 -2 -2");
    infers("%x: f32[b,n,1]", "%y = STFT %x, dense<i64[], [160]>, _, dense<i64[], [400]>", "f32[b,(n+80)/160-2,201,2]");
    infer_refuses("%x: f32[b,8,1]", "%y = STFT %x, dense<i64[], [2]>, _, dense<i64[], [9]>", "samples of one frame");
    infer_refuses("%x: f32[b,8,1]", "%y = STFT %x, dense<i64[], [0]>, _, dense<i64[], [4]>", "0 apart");
    eval_refuses("%y = STFT dense<f32[1,2,1], [1,2]>, dense<i64[], [1]>, _, dense<i64[], [3]>", "fewer than the 3");
    eval_refuses("%y = STFT dense<f32[1,2,1], [1,2]>, dense<i64[], [1]>, _, dense<i64[], [-3]>", "at least 1");
    eval_refuses("%y = STFT dense<f32[1,0,1], []>, dense<i64[], [1]>", "frames of no samples");
}

static void makes_windows(void **state)
{
    (void)state;
    evaluates("%y = HannWindow dense<i64[], [4]>", "4: 0 0.5 1 0.5");
    evaluates("%y = HannWindow dense<i64[], [5]> { periodic = 0, output_datatype = 11 }", "5: 0 0.5 1 0.5 0");
    evaluates("%y = HannWindow dense<i32[], [5]> { periodic = 0, output_datatype = 6 }", "5: 0 0 1 0 0");
    evaluates("%y = HammingWindow dense<i64[], [2]>", "2: 0.0869565 1");
    evaluates("%y = BlackmanWindow dense<i64[], [3]> { periodic = 0 }", "3: -1.38778e-17 1 -1.38778e-17");
    evaluates("%y = BlackmanWindow dense<i64[], [0]>", "0:");
    infers("%x: f32[n]", "%s = Size %x\n%y = HannWindow %s", "f32[n]");
    infer_refuses("", "%y = HannWindow dense<i64[], [4]> { output_datatype = 8 }", "no type of numbers");
    eval_refuses("%y = HannWindow dense<i64[], [-1]>", "at least 0");
    eval_refuses("%y = HannWindow dense<i64[2], [1,1]>", "expected one integer");
}

static void weighs_mels(void **state)
{
    (void)state;
    evaluates("%y = MelWeightMatrix dense<i64[], [2]>, dense<i64[], [8]>, dense<i64[], [8000]>, dense<f32[], [0]>,"
              " dense<f32[], [4000]>",
              "5x2: 1 0 0 1 0 0 0 0 0 0");
    /* A triangle that ends beyond the spectrum is cut. */
    evaluates("%y = MelWeightMatrix dense<i64[], [1]>, dense<i64[], [4]>, dense<i64[], [8000]>, dense<f32[], [0]>,"
              " dense<f32[], [30000]>",
              "3x1: 0 1 0.75");
    infers("%n: i64[], %x: f32[m]",
           "%s = Size %x\n%y = MelWeightMatrix %n, %s, dense<i64[], [1]>, dense<f32[], [0]>,"
           " dense<f32[], [1]>",
           "f32[m/2+1,?2]");
    eval_refuses("%y = MelWeightMatrix dense<i64[], [1]>, dense<i64[], [4]>, dense<i64[], [0]>, dense<f32[], [0]>,"
                 " dense<f32[], [1]>",
                 "at least 1");
    eval_refuses("%y = MelWeightMatrix dense<i64[], [1]>, dense<i64[], [4]>, dense<i64[], [8]>, dense<f32[], [-800]>,"
                 " dense<f32[], [1]>",
                 "expected a frequency");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(transforms_any_length, setup, teardown),
        cmocka_unit_test_setup_teardown(transforms, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_transforms, setup, teardown),
        cmocka_unit_test_setup_teardown(cuts_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(makes_windows, setup, teardown),
        cmocka_unit_test_setup_teardown(weighs_mels, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
