/* What the stand-in for the official hello-world says: hello-world/Dockerfile makes it the only file of the image. */
#include <stdio.h>

int main(void) {
    puts("\n"
         "Hello from Docker!\n"
         "\n"
         "You read this because four things worked:\n"
         " - the docker client reached the engine and asked it for a container;\n"
         " - the engine had the image (a stand-in, built from this project, since Docker Hub is out of reach);\n"
         " - it made a container from that image, with one program in it;\n"
         " - what the program printed came back through the engine to your terminal.");
    return 0;
}
