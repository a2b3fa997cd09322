/* reading FILE: the temperature that a TMP36 measures, in tenths of a degree Celsius.
 *
 * FILE has the raw value of a 12 bit converter with a reference of 3.3 V, as Linux's industrial I/O
 * gives it. 500 mV are 0 degrees, 10 mV are one degree. Whole numbers only: ARMv6 boards calculate
 * them fast with any float ABI.
 */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: reading FILE\n", stderr);
        return 2;
    }
    FILE *file = fopen(argv[1], "r");
    if (!file) {
        perror(argv[1]);
        return 1;
    }
    long raw = -1;
    int found = fscanf(file, "%ld", &raw);
    fclose(file);
    if (found != 1 || raw < 0 || raw > 4095) {
        fprintf(stderr, "%s: no value from 0 to 4095\n", argv[1]);
        return 1;
    }
    long tenths = raw * 3300 / 4095 - 500;
    printf("%s%ld.%ld\n", tenths < 0 ? "-" : "", labs(tenths) / 10, labs(tenths) % 10);
    return 0;
}
